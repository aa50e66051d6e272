//! The management API, as a test calls it.

use serde_json::Value;

use crate::process::Result;

/// Sends JSON; the answer is JSON, and an error when the status says so.
pub(crate) async fn post(url: &str, body: &Value) -> Result<Value> {
    send(reqwest::Client::new().post(url).body(body.to_string())).await
}

pub(crate) async fn put(url: &str, body: &Value) -> Result<Value> {
    send(reqwest::Client::new().put(url).body(body.to_string())).await
}

/// Reads JSON Lines.
pub(crate) async fn lines(url: &str) -> Result<Vec<Value>> {
    let answer = reqwest::get(url).await?.error_for_status()?.text().await?;
    answer.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

async fn send(request: reqwest::RequestBuilder) -> Result<Value> {
    let answer = request.header("content-type", "application/json").send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        return Err(format!("the management API answered {status}: {text}").into());
    }
    Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
}
