//! Which vector instructions hash: what this CPU has, and what the user asked for.

use std::sync::OnceLock;
use std::{env, fmt};

/// Environment variable that names the backend to use instead of the fastest one.
pub const BACKEND_VARIABLE: &str = "HASHER_KERNEL";

/// The instructions that scans and batches are computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// The `sha2` crate, one message at a time. It uses the CPU's SHA-256
    /// instructions where there are any, those of aarch64 included.
    Portable,
    /// Eight lanes of 32 bits.
    Avx2,
    /// The SHA-256 instructions of x86-64, four messages at a time.
    ShaNi,
    /// Two times sixteen lanes of 32 bits.
    Avx512,
}

/// The environment names a backend that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendError {
    /// There is none of this name.
    Unknown(String),
    /// This CPU lacks its instructions.
    Unavailable(Backend),
}

impl Backend {
    /// Every backend, slowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::ShaNi, Self::Avx512];

    /// Its name, as [`BACKEND_VARIABLE`] takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::ShaNi => "sha-ni",
            Self::Avx512 => "avx512",
        }
    }

    /// The backend of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }

    /// The backend that [`crate::scan`] and the batches use: the one that
    /// [`BACKEND_VARIABLE`] names if this CPU has it, else the fastest that it has.
    /// Settled at the first call.
    pub fn chosen() -> Self {
        static CHOSEN: OnceLock<Backend> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let asked = Self::asked_for().ok().flatten();
            asked.unwrap_or_else(Self::fastest)
        })
    }

    /// What [`BACKEND_VARIABLE`] asks for; nothing if it is empty or not set.
    ///
    /// A program calls this when it starts, so that a wish that cannot be granted
    /// is told instead of passed over as [`Backend::chosen`] does.
    ///
    /// # Errors
    /// [`BackendError`] if it names no backend, or one that this CPU lacks.
    pub fn asked_for() -> Result<Option<Self>, BackendError> {
        match env::var_os(BACKEND_VARIABLE) {
            Some(name) if !name.is_empty() => Self::parse(&name.to_string_lossy()).map(Some),
            _ => Ok(None),
        }
    }

    fn parse(name: &str) -> Result<Self, BackendError> {
        let backend =
            Self::from_name(name).ok_or_else(|| BackendError::Unknown(name.to_owned()))?;
        if backend.is_available() {
            Ok(backend)
        } else {
            Err(BackendError::Unavailable(backend))
        }
    }

    fn fastest() -> Self {
        let mut fastest_first = Self::ALL.into_iter().rev();
        fastest_first
            .find(|backend| backend.is_available())
            .unwrap_or(Self::Portable)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let known = Backend::ALL.map(Backend::name).join(", ");
                write!(
                    f,
                    "{BACKEND_VARIABLE}={name} names no hash kernel; there are {known}"
                )
            }
            Self::Unavailable(backend) => write!(
                f,
                "{BACKEND_VARIABLE}={backend} asks for instructions that this CPU lacks"
            ),
        }
    }
}

impl std::error::Error for BackendError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_found_by_its_name_and_no_other() {
        for backend in Backend::ALL {
            assert_eq!(Backend::from_name(backend.name()), Some(backend));
            let expected = match backend.is_available() {
                true => Ok(backend),
                false => Err(BackendError::Unavailable(backend)),
            };
            assert_eq!(Backend::parse(backend.name()), expected);
        }
        let error = Backend::parse("mmx").unwrap_err();
        assert_eq!(
            error.to_string(),
            "HASHER_KERNEL=mmx names no hash kernel; there are portable, avx2, sha-ni, avx512"
        );
    }

    #[test]
    fn what_is_chosen_is_available() {
        assert!(Backend::Portable.is_available());
        assert!(Backend::chosen().is_available());
        assert!(Backend::fastest().is_available());
    }
}
