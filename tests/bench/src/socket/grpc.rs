//! The peer that a programmer gets ready-made: gRPC by tonic, its server and its client
//! each on a runtime of one thread. What protoc would generate is written by hand.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::path::Path;
use std::task::{Context, Poll};
use std::time::Instant;

use hasher_kernel::digest_batch;
use hasher_work::Digest;
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::client;
use tonic::codegen::http::{self, uri::PathAndQuery};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{self, UnaryService};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::dialect::Message;
use super::load::{PATIENCE, Shown, TURN};

/// The one method of the service.
const METHOD: &str = "/hasher.bench.Digester/Digest";

/// Messages of 80 bytes, or their digests of 32, one behind the other.
#[derive(Clone, PartialEq, prost::Message)]
struct Data {
    #[prost(bytes = "bytes", tag = "1")]
    data: bytes::Bytes,
}

type DataCodec = ProstCodec<Data, Data>;

#[derive(Debug, Clone)]
struct Digester;

impl UnaryService<Data> for Digester {
    type Response = Data;
    type Future = Ready<Result<Response<Data>, Status>>;

    fn call(&mut self, request: Request<Data>) -> Self::Future {
        let messages: &[Message] = request.get_ref().data.as_chunks().0;
        let digests = digest_batch(messages);
        let data = digests.iter().flat_map(|digest| digest.0).collect();
        ready(Ok(Response::new(Data { data })))
    }
}

impl Service<http::Request<Body>> for Digester {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = server::Grpc::new(DataCodec::default());
            Ok(grpc.unary(Self, request).await)
        })
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Serves until the process ends.
pub fn serve(socket: &Path) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let clients = UnixListenerStream::new(UnixListener::bind(socket)?);
        let server = Server::builder().serve_with_incoming(Digester, clients);
        Ok(server.await?)
    })
}

/// A connected client.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    channel: Channel,
}

impl Client {
    /// Connects.
    pub fn open(socket: &Path) -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let endpoint = Endpoint::try_from(format!("unix:{}", socket.display()))?;
        let endpoint = endpoint.connect_timeout(PATIENCE).timeout(PATIENCE);
        let channel = runtime.block_on(endpoint.connect())?;
        Ok(Self { runtime, channel })
    }

    /// The digests of `messages`, as the server computes them.
    pub fn digests(&mut self, messages: &[Message]) -> anyhow::Result<Vec<Digest>> {
        let data = bytes::Bytes::copy_from_slice(messages.as_flattened());
        let answer = self.runtime.block_on(ask(self.channel.clone(), data))?;
        let digests = answer.as_chunks().0.iter();
        Ok(digests.copied().map(Digest).collect())
    }

    /// Keeps `in_flight` requests for `message` unanswered for one turn.
    pub fn pipeline(&mut self, in_flight: usize, message: Message) -> anyhow::Result<Shown> {
        let channel = self.channel.clone();
        let data = bytes::Bytes::copy_from_slice(&message);
        let begin = Instant::now();
        let asking = async {
            let mut askers = JoinSet::new();
            for _ in 0..in_flight {
                let (channel, data) = (channel.clone(), data.clone());
                askers.spawn(async move {
                    let mut latencies = Vec::new();
                    while begin.elapsed() < TURN {
                        let sent_at = Instant::now();
                        ask(channel.clone(), data.clone()).await?;
                        latencies.push(sent_at.elapsed());
                    }
                    Ok::<_, Status>(latencies)
                });
            }
            let mut latencies = Vec::new();
            while let Some(asked) = askers.join_next().await {
                latencies.extend(asked??);
            }
            Ok::<_, anyhow::Error>(latencies)
        };
        // The runtime must be there before the timer.
        let asking = async { timeout(PATIENCE, asking).await };
        let latencies = self.runtime.block_on(asking)??;
        Ok(Shown::of(latencies, 1, begin.elapsed()))
    }
}

async fn ask(channel: Channel, data: bytes::Bytes) -> Result<bytes::Bytes, Status> {
    let mut grpc = client::Grpc::new(channel);
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let method = PathAndQuery::from_static(METHOD);
    let request = Request::new(Data { data });
    let answer = grpc.unary(request, method, DataCodec::default()).await?;
    Ok(answer.into_inner().data)
}
