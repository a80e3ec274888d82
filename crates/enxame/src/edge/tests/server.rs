//! A local server that speaks the provider's contract, with faults on request.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::account::Account;
use super::contract::{Call, Contract, Violations};

/// The token it takes.
pub(super) const TOKEN: &str = "token-of-the-test";
const FIREWALLS_ON_A_PAGE: usize = 2;

/// What goes wrong with one request.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fault {
    /// 429, and seconds to wait.
    Throttled(u64),
    /// 500, and nothing was done.
    Failed,
    /// 500, and yet it was done.
    FailedButDone,
    /// The connection ends, and nothing was done.
    Dropped,
    /// The connection ends, and yet it was done.
    DroppedButDone,
}

/// What the server has and remembers.
#[derive(Default)]
pub(super) struct World {
    pub(super) account: Account,
    /// Faults for the next requests to an operation.
    pub(super) faults: Vec<(&'static str, Fault)>,
    /// The operations that were asked for, in order; what was refused is not among them.
    pub(super) done: Vec<String>,
    /// How many requests came.
    pub(super) requests: usize,
}

impl World {
    /// How many of the requests changed something.
    pub(super) fn writes(&self) -> usize {
        self.done.iter().filter(|id| !id.starts_with("VPS_get")).count()
    }

    pub(super) fn count(&self, id: &str) -> usize {
        self.done.iter().filter(|one| *one == id).count()
    }
}

#[derive(Clone)]
pub(super) struct Server {
    pub(super) url: String,
    world: Arc<Mutex<World>>,
}

/// The status and body of an answer; `None`: the connection is dropped.
type Answer = Option<(u16, Value)>;

impl Server {
    pub(super) async fn start(account: Account) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = Arc::new(Mutex::new(World { account, ..World::default() }));
        let server = Self { url, world };
        let (answering, contract) = (server.clone(), Arc::new(Contract::load()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, contract) = (answering.clone(), Arc::clone(&contract));
                let service = service_fn(move |request| {
                    let (server, contract) = (server.clone(), Arc::clone(&contract));
                    async move { server.respond(&contract, request).await }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        server
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    async fn respond(
        &self,
        contract: &Contract,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, &'static str> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| "no body")?.to_bytes();
        let mut world = self.world();
        world.requests += 1;
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let Some(call) = contract.call(head.method.as_str(), head.uri.path()) else {
            return Ok(response(404, &error("Not found")));
        };
        let answer = if header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            Some((401, error("Unauthenticated")))
        } else if header("content-type") != Some("application/json") {
            Some((422, invalid(&[("content-type".to_owned(), vec!["must be JSON".to_owned()])].into())))
        } else {
            match contract.check_request(&call, head.uri.query().unwrap_or_default(), &body) {
                violations if violations.is_empty() => {
                    world.answer(&call, head.uri.query().unwrap_or_default(), &body)
                }
                violations => Some((422, invalid(&violations))),
            }
        };
        let (status, body) = answer.ok_or("dropped on request")?;
        match contract.check_response(&call, status, &body) {
            Some(violations) => assert!(violations.is_empty(), "{}: {violations:?}", call.id()),
            // 429 is told in the document's introduction only, what is wrong with a `GET` nowhere.
            None => assert!([404, 422, 429].contains(&status), "{} answers no {status}", call.id()),
        }
        Ok(response(status, &body))
    }
}

impl World {
    fn answer(&mut self, call: &Call<'_>, query: &str, body: &[u8]) -> Answer {
        let fault = self.faults.iter().position(|(id, _)| *id == call.id());
        match fault.map(|index| self.faults.remove(index).1) {
            None => Some(self.carry_out(call, query, body)),
            Some(Fault::Throttled(seconds)) => {
                Some((429, json!({"message": "Too Many Requests", "wait": seconds})))
            }
            Some(Fault::Failed) => Some((500, error("Server error"))),
            Some(Fault::Dropped) => None,
            Some(Fault::FailedButDone) => {
                self.carry_out(call, query, body);
                Some((500, error("Server error")))
            }
            Some(Fault::DroppedButDone) => {
                self.carry_out(call, query, body);
                None
            }
        }
    }

    fn carry_out(&mut self, call: &Call<'_>, query: &str, body: &[u8]) -> (u16, Value) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let field = |name: &str| body[name].as_str().unwrap().to_owned();
        let account = &mut self.account;
        let answer = match (call.id(), call.numbers[..].to_vec().as_slice()) {
            ("VPS_getFirewallListV1", []) => Some(page(account, query)),
            ("VPS_createNewFirewallV1", []) => {
                let id = account.add_firewall(&field("name"), &[]);
                account.firewall_json(id)
            }
            ("VPS_getFirewallDetailsV1", [firewall]) => account.firewall_json(*firewall),
            ("VPS_createFirewallRuleV1", [firewall]) if account.firewalls.contains_key(firewall) => {
                let fields = ["protocol", "port", "source", "source_detail"].map(field);
                Some(account.add_rule(*firewall, fields))
            }
            ("VPS_deleteFirewallRuleV1", [firewall, rule]) => account.delete_rule(*firewall, *rule),
            ("VPS_activateFirewallV1", [firewall, machine]) => account.order("activate", *firewall, *machine),
            ("VPS_deactivateFirewallV1", [firewall, machine]) => {
                account.order("deactivate", *firewall, *machine)
            }
            ("VPS_syncFirewallV1", [firewall, machine]) => account.order("sync", *firewall, *machine),
            ("VPS_getVirtualMachinesV1", []) => Some(account.machines_json()),
            ("VPS_getActionDetailsV1", [machine, action]) => account.poll(*machine, *action),
            (other, _) => panic!("enxame has no business with {other}"),
        };
        match answer {
            Some(body) => {
                self.done.push(call.id().to_owned());
                (200, body)
            }
            None => (404, error("Not found")),
        }
    }
}

fn page(account: &Account, query: &str) -> Value {
    let page = query.strip_prefix("page=").map_or(1, |page| page.parse::<usize>().unwrap());
    let all = account.firewalls.keys().filter_map(|id| account.firewall_json(*id));
    let data: Vec<Value> = all.skip((page - 1) * FIREWALLS_ON_A_PAGE).take(FIREWALLS_ON_A_PAGE).collect();
    let meta =
        json!({"current_page": page, "per_page": FIREWALLS_ON_A_PAGE, "total": account.firewalls.len()});
    json!({"data": data, "meta": meta})
}

fn error(message: &str) -> Value {
    json!({"message": message, "correlation_id": "26a91bd9-f8c8-4a83-9df9-83e23d696fe3"})
}

fn invalid(violations: &Violations) -> Value {
    let message = violations.values().flatten().next();
    json!({"message": message, "errors": violations, "correlation_id": "26a91bd9-f8c8-4a83-9df9-83e23d696fe3"})
}

fn response(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    if status == 429 {
        response = response.header("retry-after", body["wait"].to_string());
    }
    response.body(Full::new(Bytes::from(body.to_string()))).unwrap()
}
