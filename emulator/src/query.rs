//! Queries: the vendor's engine runs them on its copies of our documents.

use crate::account::Account;
use crate::answer::{Answer, Refusal};
use crate::container::Container;
use crate::request::Request;

/// Serves a query or a request for a query plan.
pub async fn serve(
    account: &Account,
    container: &Container,
    request: &Request,
) -> Result<Answer, Refusal> {
    let _refresh = container.refresh.lock().await;
    crate::metadata::forward(account, request, request.body.clone()).await
}
