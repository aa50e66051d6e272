//! All documents of a scope, in pages and in their stable order.

use crate::answer::{Answer, Refusal};
use crate::charge;
use crate::container::Container;
use crate::document::{Address, Version};
use crate::key::EffectiveKey;
use crate::request::Request;
use crate::store::{KeyRange, Store};

const PAGE_ITEMS_DEFAULT: usize = 100;
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Whether a continuation is one of these listings.
pub fn is_continuation(text: &str) -> bool {
    read(text).is_ok()
}

/// Answers with the documents after the request's continuation.
pub fn page(
    container: &Container,
    store: &Store,
    keys: &KeyRange,
    request: &Request,
    render: impl Fn(&Version, &mut Vec<u8>),
) -> Result<Answer, Refusal> {
    let after = request.text_header("x-ms-continuation").map(|text| read(&text)).transpose()?;
    let items_max = request.items_max().unwrap_or(PAGE_ITEMS_DEFAULT);
    let mut body = format!("{{\"_rid\":\"{}\",\"Documents\":[", container.rid).into_bytes();
    let mut count = 0;
    let mut last: Option<&Address> = None;
    let mut more = false;
    for (address, version) in store.between(keys, after.as_ref()) {
        if count >= items_max || body.len() >= PAGE_BYTES_MAX {
            more = true;
            break;
        }
        if count > 0 {
            body.push(b',');
        }
        render(version, &mut body);
        count += 1;
        last = Some(address);
    }
    body.extend_from_slice(format!("],\"_count\":{count}}}").as_bytes());
    let mut answer =
        Answer::new(200, charge::feed(body.len())).header("x-ms-item-count", count.to_string());
    answer.documents = count;
    if let Some(last) = last.filter(|_| more) {
        answer = answer.header("x-ms-continuation", write(last));
    }
    Ok(answer.bytes(body))
}

/// A continuation is the last address as ASCII JSON: the key in hexadecimal and the id.
fn write(address: &Address) -> String {
    let id: String = address.id.chars().flat_map(char::escape_unicode).collect();
    format!("{}|{id}", address.key.to_hex())
}

fn read(text: &str) -> Result<Address, Refusal> {
    let bad = || Refusal::bad_request("the continuation is not one of this listing");
    let (key, id) = text.split_once('|').ok_or_else(bad)?;
    let key = EffectiveKey::from_hex(key).map_err(|_| bad())?;
    let id: Option<String> = id
        .split("\\u{")
        .skip(1)
        .map(|code| {
            let code = u32::from_str_radix(code.strip_suffix('}')?, 16).ok()?;
            char::from_u32(code)
        })
        .collect();
    Ok(Address { key, id: id.ok_or_else(bad)?.into() })
}
