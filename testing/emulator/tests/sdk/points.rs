//! Point operations, batches and what the other clients send in bulk, through the Rust SDK.

use azure_data_cosmos::models::{TransactionalBatch, TransactionalBatchOperationResult};
use azure_data_cosmos::options::{ItemWriteOptions, Precondition};
use serde_json::{Value, json};

use crate::client::{Scenario, attempt, pk, plain, text};
use crate::process::Result;

impl Scenario<'_> {
    pub(crate) async fn points(&self) -> Result<Value> {
        let items = &self.items;
        let one = json!({"id": "one", "pk": "p", "n": 1, "name": "Ada"});
        let two = json!({"id": "two", "pk": "p", "count": 1, "tags": ["a"], "gone": true});
        let with = |document: &Value, n: i32| {
            let mut document = document.clone();
            document["n"] = n.into();
            document
        };
        let missing = json!({"id": "missing", "pk": "p"});
        let mut out = vec![
            attempt("create", self.create(&one).await),
            attempt("create again", self.create(&one).await),
            attempt("read", self.read("one", "p").await),
            attempt("read nothing", self.read("missing", "p").await),
            attempt("read under another key", self.read("one", "q").await),
            attempt("upsert creates", items.upsert_item("p", "two", &two, None).await),
            attempt("upsert replaces", items.upsert_item("p", "two", with(&two, 2), None).await),
        ];
        let old = self.read("one", "p").await?.headers().etag().cloned().ok_or("no etag")?;
        let matching = || {
            Some(ItemWriteOptions::default().with_precondition(Precondition::if_match(old.clone())))
        };
        let replace = async |name: &str, document: Value, options| {
            attempt(name, items.replace_item("p", text(&document, "id"), &document, options).await)
        };
        out.push(replace("replace the known version", with(&one, 2), matching()).await);
        out.push(replace("replace an old version", with(&one, 3), matching()).await);
        out.push(replace("replace nothing", missing, None).await);
        out.push(self.patch("patch", "two").await);
        out.push(self.patch("patch nothing", "missing").await);
        let delete = async |name: &str, id: &str, options| {
            attempt(name, items.delete_item("p", id, options).await)
        };
        out.push(delete("delete an old version", "one", matching()).await);
        out.push(delete("delete", "two", None).await);
        out.push(delete("delete again", "two", None).await);
        let again = json!({"id": "two", "pk": "p", "n": 3});
        out.push(attempt("create once more", self.create(&again).await));
        Ok(out.into())
    }

    /// This SDK has no stable patch, so here it is what a patch means: one conditional replace.
    async fn patch(&self, name: &str, id: &str) -> Value {
        let found = match self.read(id, "p").await {
            Ok(found) => found,
            missing => return attempt(name, missing),
        };
        let etag = found.headers().etag().cloned().unwrap();
        let mut document: Value = found.into_model().unwrap();
        document["name"] = "Zoë".into();
        document["count"] = (document["count"].as_i64().unwrap() + 4).into();
        document["tags"].as_array_mut().unwrap().push("b".into());
        document.as_object_mut().unwrap().remove("gone");
        let options = ItemWriteOptions::default().with_precondition(Precondition::if_match(etag));
        attempt(name, self.items.replace_item("p", id, plain(&document), Some(options)).await)
    }

    pub(crate) async fn batch(&self) -> Result<Value> {
        let item = |id: &str, n: i32| json!({"id": id, "pk": "b", "n": n});
        let committed = TransactionalBatch::new("b")
            .create_item(item("b1", 1))?
            .upsert_item(item("b2", 1), None)?
            .replace_item("b1", item("b1", 2), None)?
            .read_item("b2", None)
            .create_item(item("b3", 1))?
            .delete_item("b2", None);
        let rolled_back = TransactionalBatch::new("b")
            .create_item(item("b4", 1))?
            .create_item(item("b1", 9))?
            .upsert_item(item("b5", 1), None)?;
        let run = async |batch| -> Result<Vec<u16>> {
            let response =
                self.items.execute_transactional_batch(batch, None).await?.into_model()?;
            Ok(response
                .results()
                .iter()
                .map(TransactionalBatchOperationResult::status_code)
                .collect())
        };
        let (committed, rolled_back) = (run(committed).await?, run(rolled_back).await?);
        let mut left = Vec::new();
        for id in ["b1", "b2", "b3", "b4", "b5"] {
            left.push(attempt(id, self.read(id, "b").await));
        }
        Ok(json!({"committed": committed, "rolled back": rolled_back, "left": left}))
    }

    /// One by one here; the JavaScript client sends the same in bulk requests.
    pub(crate) async fn bulk(&self) -> Value {
        let item = |n: u32, value: u32| json!({"id": format!("k{n:02}"), "pk": format!("bulk-{n:02}"), "n": value});
        let mut done = Vec::new();
        for n in 0..30 {
            done.push(attempt("", self.create(&item(n, n)).await));
        }
        for n in 20..40 {
            let document = item(n, n + 100);
            let id = text(&document, "id");
            done.push(attempt(
                "",
                self.items.upsert_item(pk(&document), id, &document, None).await,
            ));
        }
        for n in (0..45).step_by(5) {
            let document = item(n, 0);
            let id = text(&document, "id");
            done.push(attempt("", self.items.delete_item(pk(&document), id, None).await));
        }
        done.iter().map(|attempt| attempt[1].clone()).collect()
    }
}
