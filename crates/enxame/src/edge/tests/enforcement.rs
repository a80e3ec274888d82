//! The server itself: what the contract forbids it must refuse, or the other tests prove nothing.

use reqwest::{Client as Http, Method};
use serde_json::{Value, json};

use super::*;

async fn ask(server: &Server, method: Method, path: &str, token: &str, body: &Value) -> (u16, Value) {
    drop(rustls::crypto::ring::default_provider().install_default());
    let http = Http::builder().no_proxy().build().unwrap();
    let request = http.request(method, format!("{}{path}", server.url)).bearer_auth(token).json(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

const RULES: &str = "/api/vps/v1/firewall/1001/rules";

fn rule() -> Value {
    json!({"protocol": "ESP", "port": "any", "source": "custom", "source_detail": "203.0.113.12"})
}

#[tokio::test]
async fn a_request_that_the_contract_forbids_is_refused_and_changes_nothing() {
    let server = Server::start(account()).await;
    let before = server.world().account.firewalls.clone();
    for (field, value, told) in [
        ("port", None, "is required"),
        ("source_detail", None, "is required"),
        ("protocol", Some(json!("SCTP")), "is invalid"),
        ("source", Some(json!("203.0.113.12")), "is invalid"),
        ("port", Some(json!(443)), "must be of type"),
    ] {
        let mut body = rule();
        match value {
            Some(value) => drop(body.as_object_mut().unwrap().insert(field.to_owned(), value)),
            None => drop(body.as_object_mut().unwrap().remove(field)),
        }
        let (status, answer) = ask(&server, Method::POST, RULES, TOKEN, &body).await;
        assert_eq!(status, 422, "{body}");
        assert!(answer["errors"][field][0].as_str().unwrap().contains(told), "{answer}");
    }
    assert_eq!(ask(&server, Method::POST, RULES, "wrong", &rule()).await.0, 401);
    assert_eq!(ask(&server, Method::GET, "/api/vps/v1/firewall?per_page=9", TOKEN, &json!({})).await.0, 422);
    assert_eq!(ask(&server, Method::GET, "/api/vps/v1/firewall/none", TOKEN, &json!({})).await.0, 404);
    assert_eq!(ask(&server, Method::PATCH, RULES, TOKEN, &rule()).await.0, 404);
    assert_eq!(server.world().account.firewalls, before);
    assert_eq!(ask(&server, Method::POST, RULES, TOKEN, &rule()).await.0, 200);
}

#[tokio::test]
async fn an_edit_is_in_force_only_after_a_synchronisation_that_takes_its_time() {
    let mut account = account();
    account.install(1001, 12);
    let server = Server::start(account).await;
    let in_force = server.world().account.in_force(12);
    ask(&server, Method::POST, RULES, TOKEN, &rule()).await;
    let (_, firewall) = ask(&server, Method::GET, "/api/vps/v1/firewall/1001", TOKEN, &json!({})).await;
    assert_eq!(firewall["is_synced"], false);
    assert_eq!(server.world().account.in_force(12), in_force);
    let (_, action) =
        ask(&server, Method::POST, "/api/vps/v1/firewall/1001/sync/12", TOKEN, &json!({})).await;
    let path = format!("/api/vps/v1/virtual-machines/12/actions/{}", action["id"]);
    let mut states = vec![action["state"].clone()];
    while states.last() != Some(&json!("success")) {
        assert_eq!(server.world().account.in_force(12), in_force);
        states.push(ask(&server, Method::GET, &path, TOKEN, &json!({})).await.1["state"].clone());
    }
    assert_eq!(states, ["created", "created", "sent", "success"]);
    assert_ne!(server.world().account.in_force(12), in_force);
}

#[test]
fn the_document_is_the_one_that_was_handed_over() {
    let shared =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/contracts/hostinger-vps-firewall.openapi.json");
    match std::fs::read_to_string(shared) {
        Ok(text) => assert!(text == contract::TEXT, "the copy differs from {shared}"),
        Err(error) => eprintln!("SKIPPED: the copy was compared with nothing: {shared}: {error}"),
    }
}
