//! A socket that stands for the engine's: reads are passed on to it, writes are kept and answered as it would.
//!
//! Docker's own command line then says what it would do. Invariant: nothing but GET and HEAD reaches the engine.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use enxame_core::areas::stacks::Write;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::timeout;

/// A registry far away may be behind a read.
const READ: Duration = Duration::from_secs(60);
/// More than swarmkit takes of any entry.
const LONGEST_BODY: usize = 16 << 20;

/// The socket, and what was written to it.
#[derive(Debug)]
pub(super) struct Recorder {
    socket: PathBuf,
    writes: Arc<Mutex<Vec<Write>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Listens at `socket`, whose directory only its owner may enter, in front of the engine at `engine`.
    pub(super) fn start(socket: &Path, engine: &Path) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _within = runtime.enter();
            UnixListener::bind(socket)?
        };
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
        let writes: Arc<Mutex<Vec<Write>>> = Arc::default();
        let (stop, stopped) = oneshot::channel();
        let (kept, engine) = (Arc::clone(&writes), engine.to_owned());
        let thread = thread::Builder::new().name("recorder".to_owned()).spawn(move || {
            let serving = async move {
                tokio::select! {
                    () = serve(&listener, &kept, &engine) => {}
                    _ = stopped => {}
                }
            };
            LocalSet::new().block_on(&runtime, serving);
        })?;
        Ok(Self { socket: socket.to_owned(), writes, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Stops listening; what was written, in its order.
    pub(super) fn end(mut self) -> Vec<Write> {
        self.stop();
        std::mem::take(&mut *self.writes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stop(&mut self) {
        // Whoever has ended already needs no word.
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(listener: &UnixListener, writes: &Arc<Mutex<Vec<Write>>>, engine: &Path) {
    while let Ok((stream, _)) = listener.accept().await {
        let (writes, engine) = (Arc::clone(writes), engine.to_owned());
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| answer(request, &writes, &engine));
            // A connection that breaks off is the command's own affair.
            drop(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    writes: &Mutex<Vec<Write>>,
    engine: &Path,
) -> io::Result<Response<Full<Bytes>>> {
    let path = without_version(request.uri().path()).to_owned();
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        let answer = passed_on(request, engine).await?;
        return Ok(if path == "/secrets" || path == "/configs" {
            with_new(answer, &path, writes)
        } else {
            answer
        });
    }
    let body = Limited::new(request.into_body(), LONGEST_BODY).collect().await.map_err(io::Error::other)?;
    let mut body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    let Some((status, told)) = told(&path) else {
        let message = format!("enxame lets docker read here, and not {path}");
        return Ok(response(StatusCode::NOT_IMPLEMENTED, &json!({ "message": message })));
    };
    if path.starts_with("/secrets/")
        && let Some(data) = body.as_object_mut()
    {
        // It is not needed for telling what would be done.
        data.remove("Data");
    }
    writes.lock().unwrap_or_else(PoisonError::into_inner).push(Write { path, body });
    Ok(response(status, &told))
}

/// What the engine answers to a write that `docker stack deploy` makes; `None`: it makes no such.
fn told(path: &str) -> Option<(StatusCode, Value)> {
    match path.trim_matches('/').split('/').collect::<Vec<_>>()[..] {
        ["services" | "networks" | "secrets" | "configs", "create"] => {
            Some((StatusCode::CREATED, json!({ "ID": NEW, "Id": NEW })))
        }
        ["services", _, "update"] => Some((StatusCode::OK, json!({ "Warnings": null }))),
        ["secrets" | "configs", _, "update"] => Some((StatusCode::OK, Value::Null)),
        _ => None,
    }
}

/// The id of what there is not yet.
const NEW: &str = "new";

/// A list with what would have been made by then: services name secrets and configs by their ids.
fn with_new(answer: Response<Full<Bytes>>, path: &str, writes: &Mutex<Vec<Write>>) -> Response<Full<Bytes>> {
    let (parts, body) = answer.into_parts();
    let unchanged = body.clone();
    let read = futures::FutureExt::now_or_never(body.collect()).and_then(Result::ok);
    let listed = read.and_then(|body| serde_json::from_slice::<Vec<Value>>(&body.to_bytes()).ok());
    let Some(mut listed) = listed.filter(|_| parts.status.is_success()) else {
        return Response::from_parts(parts, unchanged);
    };
    let create = format!("{path}/create");
    let writes = writes.lock().unwrap_or_else(PoisonError::into_inner);
    let made = writes.iter().filter(|write| write.path == create);
    listed.extend(made.map(|write| json!({ "ID": NEW, "Spec": write.body })));
    response(StatusCode::OK, &Value::Array(listed))
}

fn response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}

/// `/v1.45/services` as `/services`.
fn without_version(path: &str) -> &str {
    let rest = path.strip_prefix("/v").and_then(|rest| rest.split_once('/'));
    match rest {
        Some((version, rest)) if version.starts_with(|one: char| one.is_ascii_digit()) => {
            path.get(path.len() - rest.len() - 1..).unwrap_or(path)
        }
        _ => path,
    }
}

async fn passed_on(request: Request<Incoming>, engine: &Path) -> io::Result<Response<Full<Bytes>>> {
    let (mut parts, _) = request.into_parts();
    // Each has a connection of its own.
    parts.headers.insert(hyper::header::CONNECTION, hyper::header::HeaderValue::from_static("close"));
    asked(engine, Request::from_parts(parts, Full::default())).await
}

async fn asked(engine: &Path, request: Request<Full<Bytes>>) -> io::Result<Response<Full<Bytes>>> {
    let asking = async {
        let stream = UnixStream::connect(engine).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let speaking = tokio::task::spawn_local(connection);
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let (mut parts, body) = answer.into_parts();
        let body = Limited::new(body, LONGEST_BODY).collect().await.map_err(io::Error::other)?;
        speaking.abort();
        // It is whole here, and no longer in pieces.
        parts.headers.remove(hyper::header::TRANSFER_ENCODING);
        parts.headers.remove(hyper::header::CONNECTION);
        Ok(Response::from_parts(parts, Full::new(body.to_bytes())))
    };
    timeout(READ, asking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// What the engine answers to a read.
pub(super) fn get(engine: &Path, path: &str) -> io::Result<Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let request = Request::get(path)
        .header(hyper::header::HOST, "docker")
        .header(hyper::header::CONNECTION, "close")
        .body(Full::default())
        .map_err(io::Error::other)?;
    let answer = LocalSet::new().block_on(&runtime, asked(engine, request))?;
    if !answer.status().is_success() {
        return Err(io::Error::other(format!("it answers {}", answer.status())));
    }
    let body = futures::FutureExt::now_or_never(answer.into_body().collect());
    Ok(body.and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default())
}
