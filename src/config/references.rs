//! References to secrets: `{ file = ".." }`, `{ env = ".." }`, or a secret in a key vault.

use super::reader::Value;
use super::secret::{SecretError, looks_like_a_secret};
use super::sinks::reference;
use super::table::Table;
use super::{LocalSecret, SecretRef, VaultSecret};

const ON_THIS_MACHINE: &str = "Write { file = \"PATH\" } or { env = \"VARIABLE\" }.";

const HINT: &str = "Write { file = \"PATH\" }, { env = \"VARIABLE\" }, or { key_vault = \
                    \"https://NAME.vault.azure.net\", secret = \"NAME\", credential = \"NAME\" }.";

/// What is written beside `key_vault`.
const BESIDE: [&str; 3] = ["secret", "version", "credential"];

impl Value<'_> {
    /// A reference, which leads nowhere yet.
    pub(super) fn secret_reference(&self) -> Option<SecretRef> {
        self.reference_hinted(HINT)
    }

    fn reference_hinted(&self, hint: &str) -> Option<SecretRef> {
        self.is_a(|| "a reference to a secret".to_owned());
        // One option wherever a secret is named.
        let value = self.secret().shaped("secret");
        let table = value.table("a reference to a secret, never the secret itself", hint)?;
        let file = table.maybe("file", Value::file);
        let env = table.maybe("env", Value::filled);
        let vault = key_vault(&table);
        let explained = table.has_unknown() || vault.is_none();
        table.finish();
        let file = file?.map(|path| SecretRef::Local(LocalSecret::File(path)));
        let env = env?.map(|name| SecretRef::Local(LocalSecret::Env(name)));
        let mut places =
            [file, env, vault.flatten().map(SecretRef::KeyVault)].into_iter().flatten();
        match (places.next(), places.next()) {
            (Some(place), None) => Some(place),
            (None, _) if explained => None,
            (None, _) => {
                value.problem_unshown("the place of the secret is missing", hint);
                None
            }
            (Some(_), Some(_)) => {
                value.problem_unshown("the secret has two places", hint);
                None
            }
        }
    }

    /// A reference whose secret can be read now, if that is on this machine: no vault is asked while
    /// the file is checked.
    pub(super) fn readable_secret(&self) -> Option<SecretRef> {
        let reference = self.secret_reference()?;
        if let SecretRef::Local(place) = &reference {
            place.read().map_err(|error| self.secret_problem(&error)).ok()?;
        }
        Some(reference)
    }

    /// A reference to a place on this machine, which can be read now. The rest is told where it leads
    /// into a vault.
    pub(super) fn local_secret(&self, message: &str, hint: &str) -> Option<LocalSecret> {
        let place = self.local_reference(message, hint)?;
        place.read().map_err(|error| self.secret_problem(&error)).ok()?;
        Some(place)
    }

    /// The same, which leads nowhere yet.
    pub(super) fn local_reference(&self, message: &str, hint: &str) -> Option<LocalSecret> {
        match self.reference_hinted(ON_THIS_MACHINE)? {
            SecretRef::Local(place) => Some(place),
            SecretRef::KeyVault(_) => {
                self.problem_unshown(message, hint);
                None
            }
        }
    }

    /// Reports a reference that leads to nothing usable.
    pub(super) fn secret_problem(&self, error: &SecretError) {
        // The place inside the reference: `accounts.source.key.file`.
        let place = self.named("").and_then(|entries| entries.into_iter().next());
        let place = place.map_or_else(|| self.clone(), |(_, place)| place);
        let hint = match place.node.as_str() {
            Some(text) if looks_like_a_secret(text) => {
                "This looks like the secret itself. Put it into a file and write the file's path."
            }
            _ => error.hint(),
        };
        place.problem(error.to_string(), hint);
    }
}

/// `key_vault` and what goes with it; `Some(None)` where none of it is written.
#[expect(clippy::option_option, reason = "the outer one is whether there was a problem")]
fn key_vault(table: &Table<'_>) -> Option<Option<VaultSecret>> {
    let Some(written) = table.get("key_vault") else {
        let beside: Vec<_> = BESIDE.iter().filter_map(|key| table.get(key)).collect();
        if table.has_unknown() {
            return Some(None); // It may be what was meant for `key_vault`.
        }
        for value in &beside {
            let hint =
                "Write key_vault = \"https://NAME.vault.azure.net\" beside it, or leave it out.";
            value.problem_unshown("this belongs to a secret in a key vault", hint);
        }
        return beside.is_empty().then_some(None);
    };
    let vault = address(&written);
    let name = table
        .required("secret", "Write the secret's name in the vault.")
        .and_then(|value| name(&value));
    let version = table.maybe("version", version);
    let credential = table
        .required("credential", "Name one of the [credentials.NAME] tables, which reads the vault.")
        .and_then(|value| {
            let names = value.page.credentials.borrow();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            reference(&value, &names, "credential")
        });
    Some(Some(VaultSecret {
        vault: vault?,
        name: name?,
        version: version?,
        credential: credential?,
    }))
}

fn address(value: &Value<'_>) -> Option<String> {
    const HINT: &str = "Write it like \"https://NAME.vault.azure.net\".";
    value.is_a(|| "the address of a key vault".to_owned());
    let text = value.filled()?;
    let Ok(url) = url::Url::parse(&text) else {
        value.problem("this is no address of a key vault", HINT);
        return None;
    };
    if url.scheme() != "https" {
        value.problem("a key vault is reached by https alone", HINT);
        return None;
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        let hint = "The name of the secret is `secret`, and a version of it `version`.";
        value.problem("this is more than the address of a key vault", hint);
        return None;
    }
    // A token is for a service, whose domain follows the vault's name.
    let is_named = url
        .domain()
        .and_then(|host| host.split_once('.'))
        .is_some_and(|(name, rest)| !name.is_empty() && rest.contains('.'));
    if !is_named || !url.username().is_empty() || url.password().is_some() {
        value.problem("this is no address of a key vault", HINT);
        return None;
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

/// <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates>
fn name(value: &Value<'_>) -> Option<String> {
    const LONGEST: usize = 127;
    let text = value.filled()?;
    if text.len() > LONGEST || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        let hint = "A name has up to 127 letters of a to z, digits and -.";
        value.problem("a key vault allows no such name", hint);
        return None;
    }
    Some(text)
}

fn version(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?;
    if !text.chars().all(|c| c.is_ascii_alphanumeric()) {
        let hint = "Copy it from the vault: letters and digits. Leave it out for the newest one.";
        value.problem("this is no version of a secret", hint);
        return None;
    }
    Some(text)
}
