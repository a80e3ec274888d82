//! JSON over HTTPS to a provider, patient with what passes: 429, 5xx, broken connections.
//!
//! Invariant: what may have been carried out is repeated only where that changes nothing, or after a look.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use enxame_core::secret::Secret;
use reqwest::{Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::error::{EdgeError, Fault};

/// The longest part of the provider's words that is repeated.
const LONGEST_MESSAGE: usize = 400;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// One request and its answer.
    pub(super) request: Duration,
    /// The wait before the second try; it doubles from try to try.
    pub(super) first_delay: Duration,
    /// The longest wait between two tries that the provider does not ask for.
    pub(super) longest_delay: Duration,
    /// A request with all its tries.
    pub(super) total: Duration,
    /// Between two looks at what the provider does.
    pub(super) poll: Duration,
    /// What the provider does.
    pub(super) action: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(30),
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(30),
            // More than the minute for which providers count requests.
            total: Duration::from_secs(180),
            poll: Duration::from_secs(2),
            action: Duration::from_secs(300),
        }
    }
}

/// A client of one provider's API.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    token: Secret,
    pub(super) patience: Patience,
}

/// What is asked.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) body: Option<&'a Value>,
    /// What it is for, after "cannot".
    pub(super) attempt: &'a str,
}

impl Client {
    /// A client; nothing is asked yet.
    pub(super) fn new(base: &str, token: Secret, patience: Patience) -> Result<Self, EdgeError> {
        // Somebody else may have chosen already: the same one, there is no other in this binary.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("enxame/", env!("CARGO_PKG_VERSION")))
            .timeout(patience.request)
            // The token goes where the configuration says and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        if base.starts_with("http://") {
            // To this machine itself, as the configuration makes sure.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(EdgeError::NoClient)?;
        Ok(Self { http, base: base.to_owned(), token, patience })
    }

    /// Asks for something that may be repeated without harm.
    pub(super) async fn ask<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Result<T, EdgeError> {
        self.patiently(ask.attempt, || self.once(ask)).await
    }

    /// Makes something that must not be made twice: after a failure that may have made it, `find` looks for it first.
    pub(super) async fn make<T>(
        &self,
        attempt: &str,
        make: impl AsyncFn() -> Result<T, Fault>,
        find: impl AsyncFn() -> Result<Option<T>, EdgeError>,
    ) -> Result<T, EdgeError> {
        let may_exist = AtomicBool::new(false);
        let once = || async {
            if may_exist.load(Ordering::Relaxed)
                && let Some(found) = find().await.map_err(Fault::of)?
            {
                return Ok(found);
            }
            let outcome = make().await;
            if outcome.as_ref().is_err_and(Fault::is_ambiguous) {
                may_exist.store(true, Ordering::Relaxed);
            }
            outcome
        };
        self.patiently(attempt, once).await
    }

    async fn patiently<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        attempt: &str,
        request: impl FnMut() -> F,
    ) -> Result<T, EdgeError> {
        let end = Instant::now() + self.patience.total;
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.patience.first_delay)
            .with_max_delay(self.patience.longest_delay)
            .with_jitter()
            .without_max_times();
        request
            .retry(backoff)
            .when(Fault::is_passing)
            .adjust(|fault, delay| {
                let delay = delay.max(fault.wait())?;
                Instant::now().checked_add(delay).is_some_and(|then| then < end).then_some(delay)
            })
            .await
            .map_err(|fault| EdgeError::Request { attempt: attempt.to_owned(), fault })
    }

    /// One request, once.
    pub(super) async fn once<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Result<T, Fault> {
        let url = format!("{}{}", self.base, ask.path);
        let mut request = self.http.request(ask.method.clone(), url).bearer_auth(self.token.reveal());
        // The API wants the type on every request, with a body or without.
        request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        if let Some(body) = ask.body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| {
            let error = error.without_url();
            if error.is_connect() { Fault::NoConnection(error) } else { Fault::Broken(error) }
        })?;
        let status = answer.status();
        let wait =
            answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = answer.bytes().await.map_err(|error| Fault::Broken(error.without_url()))?;
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Fault::Refused(message(&body))),
            StatusCode::TOO_MANY_REQUESTS => Err(Fault::Throttled { wait: wait.map(Duration::from_secs) }),
            status if status.is_success() => serde_json::from_slice(&body).map_err(Fault::NotUnderstood),
            status => Err(Fault::Status { status: status.as_u16(), message: message(&body) }),
        }
    }
}

/// The provider's words, as the contract's three error responses have them, made fit for a terminal.
fn message(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| json.get(key).and_then(Value::as_str);
    let mut told = text("message").or_else(|| text("error")).unwrap_or("no reason given").to_owned();
    for (field, errors) in json.get("errors").and_then(Value::as_object).into_iter().flatten() {
        let errors: Vec<&str> = errors.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // Writing to a string does not fail.
        let _ = write!(told, " [{field}: {}]", errors.join(" "));
    }
    if let Some(id) = text("correlation_id") {
        let _ = write!(told, " (correlation id {id})");
    }
    told.chars().filter(|c| !c.is_control()).take(LONGEST_MESSAGE).collect()
}
