//! Real paths that lead to no daemon.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use hasher_client::{Client, ClientError, Why};
use tempfile::TempDir;

async fn why(socket: &Path) -> (Why, ClientError) {
    let error = Client::builder()
        .socket(socket)
        .connect()
        .await
        .unwrap_err();
    let ClientError::Unreachable { sockets, why } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(sockets, &[socket]);
    (why.clone(), error)
}

#[tokio::test]
async fn a_missing_socket_says_how_to_start_the_daemon() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("hasherd.sock");
    let (why, error) = why(&socket).await;
    assert!(matches!(why, Why::NoSocket), "{why:?}");
    let expected = format!("cannot connect to {}: no such socket", socket.display());
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().unwrap().contains("hasherd --device sim:s3"));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_socket_that_a_dead_daemon_left_is_told_apart() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("hasherd.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let (why, error) = why(&socket).await;
    assert!(matches!(why, Why::NobodyListens), "{why:?}");
    assert!(error.hint().unwrap().contains("the daemon has ended"));
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_told_apart() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("hasherd.sock");
    std::fs::write(&file, "hello").unwrap();
    let (reason, error) = why(&file).await;
    assert!(matches!(reason, Why::NotASocket), "{reason:?}");
    assert!(error.hint().is_some() && !error.is_retryable());
    let (reason, _) = why(folder.path()).await;
    assert!(matches!(reason, Why::NotASocket), "{reason:?}");
    let (reason, _) = why(&file.join("deeper")).await;
    assert!(matches!(reason, Why::BadPath(_)), "{reason:?}");
}

#[tokio::test]
async fn a_path_longer_than_a_socket_may_have_is_told_apart() {
    let path = format!("/{}", "x".repeat(200));
    let (why, error) = why(Path::new(&path)).await;
    assert!(matches!(why, Why::BadPath(_)), "{why:?}");
    assert!(!error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_socket_of_someone_else_is_told_apart() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("hasherd.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o000)).unwrap();
    let (why, error) = why(&socket).await;
    if matches!(why, Why::NoWelcome(_)) && std::fs::File::open("/etc/shadow").is_ok() {
        eprintln!("not tested: root may open every socket");
        return;
    }
    assert!(matches!(why, Why::PermissionDenied), "{why:?}");
    assert!(error.hint().unwrap().contains("ls -l"));
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_never_answers_is_given_up() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("hasherd.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let (why, _) = why(&socket).await;
    assert!(matches!(why, Why::NoWelcome(_)), "{why:?}");
}
