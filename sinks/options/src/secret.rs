//! References to secrets, and the only code that reads secrets of this machine.

use std::io::Read;
use std::path::PathBuf;

use cosmos_bridge_sink::Secret;
use serde_json::json;

use crate::form::{Form, TableForm};
use crate::kind::{Kind, Options, kind, map};
use crate::table::Table;
use crate::value::Value;
use crate::values::{filled, text_of};

/// No key, connection string or salt comes near it; a device that never ends must.
const MOST_BYTES: u64 = 64 * 1024;

/// Where a secret is found. The secret itself is never printed.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretRef {
    Local(LocalSecret),
    KeyVault(VaultSecret),
}

/// A secret on this machine.
#[derive(Clone, Debug, PartialEq)]
pub enum LocalSecret {
    /// Written relative to the configuration file, here joined to its folder.
    File(PathBuf),
    Env(String),
}

/// A secret in Azure Key Vault.
#[derive(Clone, Debug, PartialEq)]
pub struct VaultSecret {
    /// The vault's address, `https://NAME.vault.azure.net`, without a slash at its end.
    pub vault: String,
    pub name: String,
    /// `None` reads the newest version.
    pub version: Option<String>,
    /// The name of one of the `[credentials]`.
    pub credential: String,
}

/// A text, or a reference to it if it is a secret.
#[derive(Clone, Debug, PartialEq)]
pub enum TextOrSecret {
    Text(String),
    Secret(SecretRef),
}

/// Why a secret cannot be used. No message holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the file cannot be read: {0}")]
    Unreadable(#[source] std::io::Error),
    #[error("the environment variable is not set")]
    Unset,
    #[error("the secret is not text in UTF-8")]
    NotText,
    #[error("the secret is empty")]
    Empty,
    #[error("the secret is longer than 64 KiB")]
    TooLong,
    /// It was read, but is not what the option needs.
    #[error("{message}")]
    Unfit { message: String, hint: &'static str },
}

impl SecretError {
    /// A sentence that says what to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => {
                "The path is relative to the configuration file. The file must be readable by the \
                 user that runs the bridge."
            }
            Self::Unset => "Set it in the environment of the bridge, or use { file = \"..\" }.",
            Self::NotText | Self::TooLong => "Put the secret alone there, as plain text.",
            Self::Empty => "Put the secret there.",
            Self::Unfit { hint, .. } => hint,
        }
    }
}

impl LocalSecret {
    /// Reads the secret now.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is empty, too long, or no text.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let bytes = match self {
            Self::File(path) => {
                let mut bytes = Vec::new();
                std::fs::File::open(path)
                    .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
                    .map_err(SecretError::Unreadable)?;
                bytes
            }
            Self::Env(name) => environment(name).ok_or(SecretError::Unset)?,
        };
        as_secret(bytes)
    }
}

impl SecretRef {
    /// The file, if the secret is in one.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::Local(LocalSecret::File(path)) => Some(path),
            Self::Local(LocalSecret::Env(_)) | Self::KeyVault(_) => None,
        }
    }
}

/// The secret in the bytes that were found. White space around it is no part of it, nor is the mark that some
/// editors write before a text.
///
/// # Errors
///
/// It is empty, too long, or no text.
pub fn as_secret(found: Vec<u8>) -> Result<Secret, SecretError> {
    if found.len() as u64 > MOST_BYTES {
        return Err(SecretError::TooLong);
    }
    let text = String::from_utf8(found).map_err(|_| SecretError::NotText)?;
    match text.trim_start_matches('\u{feff}').trim() {
        "" => Err(SecretError::Empty),
        text => Ok(Secret::new(text)),
    }
}

#[expect(clippy::disallowed_methods, reason = "the file names the variable that holds a secret")]
fn environment(name: &str) -> Option<Vec<u8>> {
    match std::env::var(name) {
        Ok(text) => Some(text.into_bytes()),
        Err(std::env::VarError::NotUnicode(text)) => Some(text.into_encoded_bytes()),
        Err(std::env::VarError::NotPresent) => None,
    }
}

/// True if a text holds an account key.
pub(crate) fn looks_like_a_secret(text: &str) -> bool {
    /// An account key is 64 bytes, 88 characters of base64.
    const KEY_CHARACTERS: usize = 86;
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    text.to_ascii_lowercase().contains("accountkey")
        || text
            .split(|c| !base64(c))
            .any(|run| run.len() >= KEY_CHARACTERS && !run.starts_with('/'))
}

crate::options! {
    /// Exactly one of `file`, `env` and `key_vault`.
    struct Reference {
        /// A file that holds the secret.
        file: Option<PathBuf> = optional, crate::values::file();
        /// An environment variable that holds the secret.
        env: Option<String> = optional, crate::values::text();
        /// The address of an Azure Key Vault.
        key_vault: Option<String> = optional, vault_address(), example "https://NAME.vault.azure.net";
        /// The secret's name in the vault.
        secret: Option<String> = optional, vault_name();
        /// A version of the secret; the newest one if not written.
        version: Option<String> = optional, vault_version();
        /// The credential that reads the vault.
        credential: Option<String> = optional, crate::values::reference("credential");
    }
    rules(table) {
        vault_is_whole(table);
    }
}

const ON_THIS_MACHINE: &str = "Write { file = \"PATH\" } or { env = \"VARIABLE\" }.";
const ANYWHERE: &str = "Write { file = \"PATH\" }, { env = \"VARIABLE\" }, or { key_vault = \
                        \"https://NAME.vault.azure.net\", secret = \"NAME\", credential = \"NAME\" }.";

/// Reports options of a vault without its address, and an address without the others.
fn vault_is_whole(table: &Table<'_>) {
    if table.get("key_vault").is_some() {
        table.required("secret", "Write the secret's name in the vault.");
        let hint = "Name one of the [credentials.NAME] tables, which reads the vault.";
        table.required("credential", hint);
    } else if !table.has_unknown() {
        for value in ["secret", "version", "credential"].iter().filter_map(|key| table.get(key)) {
            let hint = "Add key_vault = \"https://NAME.vault.azure.net\", or leave it out.";
            value.problem_unshown("this belongs to a secret in a key vault", hint);
        }
    }
}

fn read_reference(value: &Value<'_>, hint: &str) -> Option<SecretRef> {
    let value = value.secret();
    let table = value.table("a reference to a secret, never the secret itself", hint)?;
    let read = Reference::read(&table);
    let is_of_vault =
        ["key_vault", "secret", "version", "credential"].iter().any(|key| table.get(key).is_some());
    let places = ["file", "env", "key_vault"].iter().filter(|key| table.get(key).is_some()).count();
    let is_explained = table.has_unknown() || is_of_vault;
    table.finish();
    if places > 1 {
        value.problem_unshown("the secret has two places", hint);
        return None;
    }
    if places == 0 && !is_explained {
        value.problem_unshown("the place of the secret is missing", hint);
    }
    let secret = match read? {
        Reference { file: Some(file), .. } => SecretRef::Local(LocalSecret::File(file)),
        Reference { env: Some(name), .. } => SecretRef::Local(LocalSecret::Env(name)),
        Reference { key_vault, secret, version, credential, .. } => {
            let (vault, name, credential) = (key_vault?, secret?, credential?);
            SecretRef::KeyVault(VaultSecret { vault, name, version, credential })
        }
    };
    value.names_secret(&secret);
    Some(secret)
}

/// The form of a reference to a secret.
pub fn secret_form() -> Form {
    fn definition() -> Form {
        let one_of = [
            json!({ "required": ["file"], "maxProperties": 1 }),
            json!({ "required": ["env"], "maxProperties": 1 }),
            json!({ "required": ["key_vault", "secret", "credential"] }),
        ];
        let constraint = Some(json!({ "oneOf": one_of }));
        Form::Table(TableForm { constraint, ..<Reference as Options>::form() })
    }
    Form::Named { name: "secret", make: definition }
}

/// A reference to a secret, which is not read yet.
pub fn secret() -> impl Kind<Output = SecretRef> {
    kind(secret_form(), |value| read_reference(value, ANYWHERE))
}

/// A reference to a secret whose content is checked now if it is on this machine. No vault is called
/// while the file is checked.
pub fn readable_secret() -> impl Kind<Output = SecretRef> {
    secret().check(|value, secret| match secret {
        SecretRef::Local(place) => read_now(value, place).is_some(),
        SecretRef::KeyVault(_) => true,
    })
}

/// A reference to a secret on this machine, whose content is checked now. `message` and `hint` are for one
/// in a vault.
pub fn local_secret(message: &'static str, hint: &'static str) -> impl Kind<Output = LocalSecret> {
    kind(secret_form(), move |value| {
        let place = local_reference(value, message, hint)?;
        read_now(value, &place).map(|_| place)
    })
}

/// A reference to a secret on this machine, which is not read yet.
pub fn local_reference(value: &Value<'_>, message: &str, hint: &str) -> Option<LocalSecret> {
    match read_reference(value, ON_THIS_MACHINE)? {
        SecretRef::Local(place) => Some(place),
        SecretRef::KeyVault(_) => {
            value.problem_unshown(message, hint);
            None
        }
    }
}

/// Reads a secret and reports why it cannot be read.
pub fn read_now(value: &Value<'_>, place: &LocalSecret) -> Option<Secret> {
    place.read().map_err(|error| secret_problem(value, &error)).ok()
}

/// Reports a reference that leads to nothing usable.
pub fn secret_problem(value: &Value<'_>, error: &SecretError) {
    // The place inside the reference: `accounts.source.key.file`.
    let place = value.named("").and_then(|entries| entries.into_iter().next());
    let place = place.map_or_else(|| value.clone(), |(_, place)| place);
    let hint = match place.node().as_str() {
        Some(text) if looks_like_a_secret(text) => {
            "This looks like the secret itself. Put it into a file and write the file's path."
        }
        _ => error.hint(),
    };
    place.problem(error.to_string(), hint);
}

/// A text, or a reference to a secret that holds it. `read` is for the text.
pub fn text_or_secret(
    words: &'static str,
    read: fn(&Value<'_>) -> Option<String>,
) -> impl Kind<Output = TextOrSecret> {
    kind(Form::Either(vec![Form::text(words), secret_form()]), move |value| {
        if value.node().is_table() {
            secret().read(value).map(TextOrSecret::Secret)
        } else {
            read(value).map(TextOrSecret::Text)
        }
    })
}

/// HTTP headers, of which values may be secrets.
pub fn http_headers() -> impl Kind<Output = Vec<(String, TextOrSecret)>> {
    let is_header = |value: &Value<'_>, name: &str| {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
        let is_allowed = name.bytes().all(is_token);
        if !is_allowed {
            value.problem_unshown(
                "HTTP allows no such header",
                "Write a name like x-functions-key.",
            );
        }
        is_allowed
    };
    map("a table of headers", text_or_secret("text", filled), is_header)
}

fn vault_address() -> impl Kind<Output = String> {
    kind(Form::pattern("the address of a key vault", "^https://[^/?#@]+/?$"), |value| {
        read_vault_address(&filled(value)?)
            .map_err(|(message, hint)| value.problem(message, hint))
            .ok()
    })
}

fn read_vault_address(text: &str) -> Result<String, (&'static str, &'static str)> {
    const HINT: &str = "Write it like \"https://NAME.vault.azure.net\".";
    const INVALID: (&str, &str) = ("invalid address of a key vault", HINT);
    let url = url::Url::parse(text).map_err(|_| INVALID)?;
    if url.scheme() != "https" {
        return Err(("a key vault is reached by https only", HINT));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        let hint = "The name of the secret is `secret`, and a version of it `version`.";
        return Err(("this is more than the address of a key vault", hint));
    }
    // A token is for a service, whose domain follows the vault's name.
    let is_named = url
        .domain()
        .and_then(|host| host.split_once('.'))
        .is_some_and(|(name, rest)| !name.is_empty() && rest.contains('.'));
    if !is_named || !url.username().is_empty() || url.password().is_some() {
        return Err(INVALID);
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates>
fn vault_name() -> impl Kind<Output = String> {
    text_of("the name of a secret", |value, text| {
        const LONGEST: usize = 127;
        if text.len() > LONGEST || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            let hint = "A name has up to 127 letters of a to z, digits and -.";
            value.problem("a key vault allows no such name", hint);
            return None;
        }
        Some(text)
    })
}

fn vault_version() -> impl Kind<Output = String> {
    text_of("the version of a secret", |value, text| {
        if !text.chars().all(|c| c.is_ascii_alphanumeric()) {
            let hint =
                "Copy it from the vault: letters and digits. Leave it out for the newest one.";
            value.problem("invalid version of a secret", hint);
            return None;
        }
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_another_place_is_recognised() {
        let key = "paWl".repeat(22);
        assert!(looks_like_a_secret(&format!("\"{key}\"")));
        assert!(looks_like_a_secret("AccountEndpoint=https://a;AccountKey=abc"));
        assert!(!looks_like_a_secret("\"https://a-rather-long-account-name.documents.azure.com\""));
    }

    #[test]
    fn a_secret_is_read_whole_or_refused() {
        // A file without an end, of which no first part is a secret.
        let endless = LocalSecret::File("/dev/zero".into()).read();
        assert!(matches!(endless, Err(SecretError::TooLong)), "{endless:?}");
        // Editors of Windows begin a file with a byte order mark.
        let marked = as_secret("\u{feff} key\r\n".into());
        assert_eq!(marked.map(|secret| secret.expose().to_owned()).ok().as_deref(), Some("key"));
        assert!(matches!(as_secret("\u{feff}\n".into()), Err(SecretError::Empty)));
        for (length, is_read) in [(1, true), (65_536, true), (65_537, false)] {
            assert_eq!(as_secret(vec![b'x'; length]).is_ok(), is_read, "{length} bytes");
        }
    }
}
