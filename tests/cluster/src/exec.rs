//! The server's side of a command in a pod, over a WebSocket: subprotocol `v5.channel.k8s.io` of
//! `k8s.io/apimachinery/pkg/util/remotecommand`. The first byte of a message names its channel.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::SinkExt;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

const OUTPUT: u8 = 1;
const STATUS: u8 = 3;

/// Answers a request to run a command: it printed this and ended so.
pub(crate) fn answer(mut request: Request, code: i32, printed: String) -> Response {
    let accepted = request.headers().get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let Some(accepted) = accepted.and_then(|key| HeaderValue::from_str(&key).ok()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        for (channel, text) in [(OUTPUT, printed), (STATUS, status(code))] {
            let message = [&[channel], text.as_bytes()].concat();
            // Whoever asked may be gone.
            let _ = socket.send(Message::Binary(message.into())).await;
        }
        let _ = socket.close(None).await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("v5.channel.k8s.io"));
    response
}

fn status(code: i32) -> String {
    let causes = json!([{"reason": "ExitCode", "message": code.to_string()}]);
    let status = match code {
        0 => json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}),
        _ => {
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "details": {"causes": causes}})
        }
    };
    status.to_string()
}
