//! Values with a meaning of their own: quantities, names, paths, JSON.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_sink::{PathError, Piece, SYSTEM_PROPERTIES, TemplateError};
use toml::de::DeValue;

use super::reader::Value;
use super::schedule::Amount;
use super::units::{amount, duration, duration_text, size, size_text};
use super::{Path, Template, defaults};

impl Value<'_> {
    pub(super) fn duration(&self, range: &RangeInclusive<Duration>) -> Option<Duration> {
        let hint = "Write a number and a unit: \"30s\", \"5m\" or \"500ms\".";
        self.is_between("a duration", range, duration_text);
        let value = self.quantity("a duration", hint, duration)?;
        self.within(value, range, duration_text)
    }

    pub(super) fn size(&self, range: &RangeInclusive<u64>) -> Option<usize> {
        let hint = "Write a number and a unit: \"512 KiB\", \"1.5 MiB\" or \"2 GiB\".";
        self.is_between("a size", range, size_text);
        let value = self.quantity("a size", hint, size)?;
        self.within(value, range, size_text).and_then(|bytes| usize::try_from(bytes).ok())
    }

    pub(super) fn amount(&self) -> Option<Amount> {
        let hint =
            "Write \"400 RU/s\", \"30%\" of what the container has provisioned, or \"unlimited\".";
        match self.quantity("a budget", hint, amount)? {
            Amount::Unlimited => Some(Amount::Unlimited),
            Amount::Units(units) => self
                .within(units, &defaults::BUDGETS, |units| format!("{units} RU/s"))
                .map(Amount::Units),
            Amount::Share(share) if share > 0.0 && share <= 1.0 => Some(Amount::Share(share)),
            Amount::Share(share) => {
                let message = if share > 1.0 { "this is too much" } else { "this is too little" };
                self.problem(message, "Write more than \"0%\" and at most \"100%\".");
                None
            }
        }
    }

    /// What a text stands for; the hint says how such texts are written.
    pub(super) fn quantity<T>(
        &self,
        expected: &str,
        hint: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text_like(expected, hint)?;
        read(text).map_err(|message| self.problem(message, hint)).ok()
    }

    fn is_between<T: Copy>(
        &self,
        kind: &str,
        range: &RangeInclusive<T>,
        show: impl Fn(T) -> String,
    ) {
        self.is_a(|| format!("{kind}, {} to {}", show(*range.start()), show(*range.end())));
    }

    fn within<T: PartialOrd + Copy>(
        &self,
        value: T,
        range: &RangeInclusive<T>,
        show: impl Fn(T) -> String,
    ) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        let message =
            if value < *range.start() { "this is too little" } else { "this is too much" };
        let (least, most) = (show(*range.start()), show(*range.end()));
        self.problem(message, format!("Write at least \"{least}\" and at most \"{most}\"."));
        None
    }

    /// Text that is not empty.
    pub(super) fn filled(&self) -> Option<String> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.problem("this is empty", "");
            return None;
        }
        Some(text.to_owned())
    }

    /// The name of a database or container, by the service's rules for ids.
    pub(super) fn resource(&self) -> Option<String> {
        /// As the service documents for databases and containers.
        const LONGEST: usize = 255;
        self.is_a(|| "the name of a database or container".to_owned());
        let text = self.filled()?;
        let refused = text.contains(['/', '\\', '#', '?']) || text.ends_with(' ');
        if refused || text.chars().count() > LONGEST {
            self.problem(
                "the service allows no such name",
                "A name has at most 255 characters, none of / \\ # ?, and no space at its end.",
            );
            return None;
        }
        Some(text)
    }

    /// A file, relative to the configuration.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.is_a(|| "a file".to_owned());
        self.filled().map(|text| self.page.base_dir.join(text))
    }

    /// A path of property names.
    pub(super) fn path(&self) -> Option<Path> {
        let text = self.text_like("a path", "Write it like \"/customer/region\".")?;
        self.path_from(text)
    }

    /// A path that is written as this value or as its key.
    pub(super) fn path_from(&self, text: &str) -> Option<Path> {
        let path = Path::read(text);
        let path = path.map_err(|error| self.problem(error.to_string(), error.hint(text))).ok()?;
        if let [first, ..] = path.segments()
            && SYSTEM_PROPERTIES.contains(&first.as_str())
        {
            let message = format!("`{first}` is a system property, which no route ever sees");
            self.problem(message, "The service writes its own into the target.");
            return None;
        }
        Some(path)
    }

    /// A text with at least one field in braces.
    pub(super) fn template(&self) -> Option<Template> {
        const HINT: &str =
            "Write fields in braces, \"{/tenant}-{/day}\"; {{ and }} stand for braces.";
        let template = self.template_of("a template", HINT)?;
        if template.0.iter().any(|piece| matches!(piece, Piece::Property(_))) {
            return self.no_template(&TemplateError::Path(PathError::NoSlash), HINT);
        }
        if template.fields().next().is_none() {
            self.problem("the template has no field, so every document would get the same", HINT);
            return None;
        }
        Some(template)
    }

    /// A text that may hold fields and properties of a change in braces.
    pub(super) fn address(&self) -> Option<Template> {
        const HINT: &str = "Write it like \"{database}.{container}\" or \"{/customer/region}\"; {{ and \
                            }} stand for braces.";
        let template = self.template_of("a text", HINT)?;
        if template.constant() == Some("") {
            self.problem("this is empty", HINT);
            return None;
        }
        Some(template)
    }

    fn template_of(&self, what: &str, hint: &str) -> Option<Template> {
        let text = self.text_like(what, hint)?;
        let template = match Template::read(text) {
            Ok(template) => template,
            Err(error) => return self.no_template(&error, hint),
        };
        let fields: Vec<Option<Path>> =
            template.fields().map(|field| self.path_from(&field.to_string())).collect();
        fields.iter().all(Option::is_some).then_some(template)
    }

    fn no_template(&self, error: &TemplateError, hint: &str) -> Option<Template> {
        let hint = match error {
            TemplateError::Path(_) if hint.contains("{database}") => {
                "In braces stands a path, \"{/tenant}\", or one of {id}, {partition_key}, \
                 {operation}, {account}, {database} and {container}."
            }
            TemplateError::Path(_) => "A field is a path in braces: \"{/tenant}\".",
            TemplateError::Unclosed | TemplateError::Unopened => hint,
        };
        self.problem(error.to_string(), hint);
        None
    }

    /// The value as the service would hold it.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        self.is_a(|| "any value that JSON has".to_owned());
        match self.node {
            DeValue::String(text) => Some(Json::String(text.clone().into_owned())),
            DeValue::Boolean(value) => Some(Json::Bool(*value)),
            DeValue::Integer(number) => {
                let number = i64::from_str_radix(number.as_str(), number.radix());
                number.ok().map(Json::from).or_else(|| self.no_json("the number is too large"))
            }
            DeValue::Float(number) => {
                let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                number.map(Json::Number).or_else(|| self.no_json("JSON has no such number"))
            }
            DeValue::Datetime(_) => self.no_json("JSON has no points in time"),
            DeValue::Array(_) => self.all(Value::json).map(Json::Array),
            DeValue::Table(_) => {
                let entries = self.named("a value")?.into_iter();
                let read: Vec<_> = entries.map(|(name, value)| (name, value.json())).collect();
                read.into_iter().map(|(name, value)| Some((name.to_owned(), value?))).collect()
            }
        }
    }

    fn no_json<T>(&self, message: impl fmt::Display) -> Option<T> {
        self.problem(message.to_string(), "Write it as text, in double quotes.");
        None
    }
}
