//! `squall get --raw`: the body of an answer, byte for byte.

use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::client::Body;

use crate::cli::Out;
use crate::cli::exit::{Exit, Failure, Result};

/// How much of an error's body is read.
const MAX_ERROR: usize = 64 * 1024;

/// Prints the answer to a GET of `path`.
pub(super) async fn get(client: &Client, path: &str, out: &mut Out) -> Result<Exit> {
    let failed = |error| Failure::api(format!("get {path}"), &error);
    let request = http::Request::get(path).body(Body::empty()).map_err(|error| {
        Failure::bad_input(format!("\"{path}\" is not a path: {error}")).cure("begin it with /api or /apis")
    })?;
    let response = client.send(request).await.map_err(failed)?;
    let status = response.status();
    let mut body = response.into_body();
    if !status.is_success() {
        let message = match Limited::new(body, MAX_ERROR).collect().await {
            Ok(body) => message(&body.to_bytes()),
            Err(error) => error.to_string(),
        };
        return Err(Failure::message(format!("{status}: {message}")).context(format!("cannot get {path}")));
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(failed)?;
        if let Some(data) = frame.data_ref() {
            out.bytes(data)?;
        }
    }
    Ok(Exit::Success)
}

/// The message of a `metav1.Status`, or the text of whoever else answered.
fn message(body: &[u8]) -> String {
    let status: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message =
        status.as_ref().and_then(|status| status.get("message")).and_then(serde_json::Value::as_str);
    message.map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), str::to_owned)
}
