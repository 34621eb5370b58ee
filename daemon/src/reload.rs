//! The configuration of a daemon that runs: what is in effect, and reading it anew.
//!
//! Owns the [`Config`] in effect and the signal that asks for another one. A file that
//! does not hold is refused as a whole and the old settings stay. [`run`](crate::run())
//! follows it.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::config::{Config, ConfigError, ConfigSource, Effect};
use crate::control::ReloadRequest;
use crate::descriptors;
use crate::error_text::one_line;
use crate::hub::Hub;
use crate::log::LogFilter;
use crate::notify;

/// Longest time for reading the file: it may lie on a network that is gone.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// What is in effect, and how to read it anew.
#[derive(Debug)]
pub struct Configuration {
    source: ConfigSource,
    config: Config,
    log: LogFilter,
    hangup: Signal,
    requests: mpsc::Receiver<ReloadRequest>,
    /// Somebody started the daemon in a terminal.
    is_in_terminal: bool,
}

impl Configuration {
    /// What was read from `source` is in effect; SIGHUP and `requests` ask for reading it
    /// again from now on. Call it inside the runtime.
    ///
    /// # Errors
    /// The signal cannot be watched.
    pub fn new(
        source: ConfigSource,
        config: Config,
        log: LogFilter,
        requests: mpsc::Receiver<ReloadRequest>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            source,
            config,
            log,
            hangup: signal(SignalKind::hangup())?,
            requests,
            is_in_terminal: std::io::stderr().is_terminal(),
        })
    }

    /// Puts the settings into effect.
    pub(crate) fn apply(&self, hub: &Hub) {
        let limits = self.config.limits();
        descriptors::allow(limits.sessions);
        hub.configure(limits.clone(), self.config.report());
    }

    /// Reads the file anew whenever it is asked for, for as long as it is polled. Returns
    /// when the terminal was closed in which the daemon runs; that, too, is said by SIGHUP.
    pub(crate) async fn follow(mut self, hub: &Hub) {
        loop {
            let request = tokio::select! {
                _ = self.hangup.recv() => {
                    if self.is_in_terminal && !std::io::stderr().is_terminal() {
                        return;
                    }
                    None
                }
                Some(request) = self.requests.recv() => Some(request),
            };
            notify::reloading();
            let outcome = self.reload(hub).await;
            notify::ready();
            if let Some(request) = request {
                request.answer(outcome.map_err(|error| one_line(&error)));
            }
        }
    }

    /// Reads the file anew.
    async fn reload(&mut self, hub: &Hub) -> Result<(), ConfigError> {
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || source.read());
        let newer = match tokio::time::timeout(READ_TIMEOUT, read).await {
            Ok(Ok(newer)) => newer,
            Ok(Err(panic)) => Err(self.source.unreadable(std::io::Error::other(panic))),
            Err(_) => Err(self.source.unreadable(std::io::ErrorKind::TimedOut.into())),
        };
        match newer {
            Ok(newer) => {
                self.replace(newer, hub);
                Ok(())
            }
            Err(problems) => {
                for problem in problems.lines() {
                    error!(problem, "configuration refused; the old one stays");
                }
                Err(problems)
            }
        }
    }

    fn replace(&mut self, newer: Config, hub: &Hub) {
        let (config, changes) = self.config.reloaded(newer);
        self.config = config;
        self.log.set(self.config.log());
        self.apply(hub);
        for change in &changes {
            let value = change.value.as_deref().unwrap_or("its default");
            match change.effect {
                Effect::Restart => {
                    warn!(
                        setting = change.key,
                        value, "setting needs a restart of hasherd"
                    );
                }
                Effect::Reload => info!(setting = change.key, value, "setting changed"),
                Effect::NewSessions => {
                    info!(
                        setting = change.key,
                        value, "setting changed for new connections"
                    );
                }
            }
        }
        info!(
            file = self.config.file(),
            changes = changes.len(),
            "configuration reloaded"
        );
    }
}

#[cfg(test)]
mod tests {
    use hasher_wire::ConfigurationReport;

    use super::*;
    use crate::control::{ReloadError, Reloader};

    fn report_of(hub: &Hub) -> ConfigurationReport {
        let json = serde_json::to_value(hub.document(ConfigurationReport::TOPIC, "").unwrap());
        serde_json::from_value(json.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn whoever_asks_for_a_reload_is_told_when_it_is_in_effect_or_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hasherd.toml");
        std::fs::write(&file, "[limits]\nsessions = 9\n").unwrap();
        let source = ConfigSource {
            file: Some(file.clone()),
            ..ConfigSource::default()
        };
        let config = source.read().unwrap();
        let (reloader, requests) = Reloader::channel();
        let configuration =
            Configuration::new(source, config, LogFilter::detached(), requests).unwrap();
        let hub = Hub::new();
        configuration.apply(&hub);
        assert_eq!(hub.limits().sessions, 9);
        let asking = async {
            std::fs::write(&file, "[limits]\nsessions = 8\n").unwrap();
            reloader.reload().await.unwrap();
            assert_eq!(hub.limits().sessions, 8);
            let settings = report_of(&hub).settings;
            let sessions = settings
                .iter()
                .find(|s| s.key == "limits.sessions")
                .unwrap();
            assert_eq!(sessions.value, "8");
            std::fs::write(&file, "[limits]\nsessions = 0\n").unwrap();
            let why = "limits.sessions: expected a whole number from 1 to 1024, found 0";
            let refused = ReloadError::Invalid(format!("{}:2: {why}", file.display()));
            assert_eq!(reloader.reload().await, Err(refused));
            assert_eq!(hub.limits().sessions, 8);
            // Without a file every setting has its default.
            std::fs::remove_file(&file).unwrap();
            reloader.reload().await.unwrap();
            assert_eq!(hub.limits().sessions, 64);
        };
        tokio::select! {
            () = asking => {}
            () = configuration.follow(&hub) => {}
        }
    }
}
