//! Status and events.

use std::time::Duration;

use hasher_client::{Client, ClientError, EventBody, StatusReport, Topics, Why};
use hasher_wire::{Event, Frame, StatusReply, Subscribe};

use crate::peer::{Peer, connect};

fn status(pid: u32) -> EventBody {
    let mut status = StatusReport::default();
    status.daemon.pid = pid;
    EventBody::Status { status }
}

fn removed(id: &str) -> EventBody {
    EventBody::Removed { id: id.into() }
}

async fn send(peer: &mut Peer, body: &EventBody) {
    peer.send(Frame::Event(Event::new(body).unwrap())).await;
}

async fn expect_topics(peer: &mut Peer, topics: Topics) {
    assert_eq!(
        peer.frame().await,
        Frame::Subscribe(Subscribe { topics }),
        "{topics:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_status_query_gives_the_report() {
    let (client, mut peer, _network) = connect(Client::builder(), 1).await;
    let asking = tokio::spawn(async move { client.status().await });
    let Frame::StatusQuery(request) = peer.frame().await else {
        panic!("no query");
    };
    let mut report = StatusReport::default();
    report.totals.jobs_done = 12;
    let reply = StatusReply::new(request, &report).unwrap();
    peer.send(Frame::Status(reply)).await;
    assert_eq!(asking.await.unwrap().unwrap(), report);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_no_document_is_a_protocol_error() {
    let (client, mut peer, _network) = connect(Client::builder(), 1).await;
    let asking = tokio::spawn(async move { client.status().await });
    let Frame::StatusQuery(request) = peer.frame().await else {
        panic!("no query");
    };
    let json = "{\"daemon\":".into();
    peer.send(Frame::Status(StatusReply { request, json }))
        .await;
    let error = asking.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn each_subscriber_gets_its_topics() {
    let (client, mut peer, _network) = connect(Client::builder(), 1).await;
    let mut devices = client.subscribe(Topics::DEVICES).await.unwrap();
    expect_topics(&mut peer, Topics::DEVICES).await;
    let mut all = client.subscribe(Topics::ALL).await.unwrap();
    expect_topics(&mut peer, Topics::ALL).await;
    for body in [status(1), removed("a"), status(2), removed("b")] {
        send(&mut peer, &body).await;
    }
    let unknown = Event {
        json: r#"{"event":"moon phase"}"#.into(),
    };
    peer.send(Frame::Event(unknown)).await;
    send(&mut peer, &removed("c")).await;
    for body in [
        status(1),
        removed("a"),
        status(2),
        removed("b"),
        removed("c"),
    ] {
        assert_eq!(all.next().await.unwrap().unwrap(), body);
    }
    for body in [removed("a"), removed("b"), removed("c")] {
        assert_eq!(devices.next().await.unwrap().unwrap(), body);
    }
    drop(all);
    expect_topics(&mut peer, Topics::DEVICES).await;
    drop(devices);
    expect_topics(&mut peer, Topics::NONE).await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_dropped_at_once_leaves_nothing_behind() {
    let (client, mut peer, mut network) = connect(Client::builder(), 1).await;
    drop(client.subscribe(Topics::ALL).await.unwrap());
    assert!(peer.is_quiet().await);
    drop(peer);
    // With nobody interested, the client does not connect again.
    let dialing = network.accept();
    let patience = Duration::from_secs(100);
    assert!(tokio::time::timeout(patience, dialing).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_loses_the_oldest_events_never_the_newest() {
    let (client, mut peer, _network) = connect(Client::builder(), 1).await;
    let mut events = client.subscribe(Topics::STATUS).await.unwrap();
    expect_topics(&mut peer, Topics::STATUS).await;
    for pid in 1..=1000 {
        send(&mut peer, &status(pid)).await;
    }
    peer.send(Frame::Ping(1)).await;
    assert_eq!(peer.frame().await, Frame::Pong(1)); // all were read
    let mut pids = Vec::new();
    while pids.last() != Some(&1000) {
        match events.next().await.unwrap().unwrap() {
            EventBody::Status { status } => pids.push(status.daemon.pid),
            other => panic!("{other:?}"),
        }
    }
    assert!(pids.len() <= 64, "{}", pids.len());
    assert!(pids.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_survives_a_restart_of_the_daemon() {
    let (client, mut peer, mut network) = connect(Client::builder(), 1).await;
    let mut events = client.subscribe(Topics::ALL).await.unwrap();
    expect_topics(&mut peer, Topics::ALL).await;
    send(&mut peer, &status(1)).await;
    assert_eq!(events.next().await.unwrap().unwrap(), status(1));
    assert_eq!(events.connection(), 1);
    network.refuse(2, &Why::NobodyListens);
    drop(peer);
    let mut peer = network.accept_welcome(1).await;
    expect_topics(&mut peer, Topics::ALL).await;
    send(&mut peer, &status(2)).await;
    assert_eq!(events.next().await.unwrap().unwrap(), status(2));
    assert_eq!(events.connection(), 2);
    assert_eq!(client.session().connection, 2);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stays_away_ends_the_subscription_with_the_reason() {
    let (client, peer, network) = connect(Client::builder(), 1).await;
    let mut events = client.subscribe(Topics::ALL).await.unwrap();
    network.refuse(100, &Why::NobodyListens);
    drop(peer);
    let error = events.next().await.unwrap().unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(events.next().await.is_none());
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_ends_its_subscriptions() {
    let (client, _peer, _network) = connect(Client::builder(), 1).await;
    let mut events = client.subscribe(Topics::ALL).await.unwrap();
    client.close().await;
    let error = events.next().await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Ended), "{error:?}");
    assert!(events.next().await.is_none());
}
