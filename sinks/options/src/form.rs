//! What an option may be: in words for the reference page, and as a JSON Schema for editors.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

/// The form of a value.
#[derive(Clone, Debug)]
pub enum Form {
    /// A single value: in words, and its schema.
    Value {
        words: String,
        schema: Json,
    },
    List {
        of: Box<Form>,
        least: usize,
    },
    /// A table whose keys are names that the user chooses.
    Map {
        words: &'static str,
        /// A regular expression for the names, as in ECMA 262; empty for any.
        names: &'static str,
        of: Box<Form>,
    },
    Table(TableForm),
    Either(Vec<Form>),
    /// A form with a name, which may contain itself.
    Named {
        name: &'static str,
        make: fn() -> Form,
    },
}

/// The options of a table.
#[derive(Clone, Debug, Default)]
pub struct TableForm {
    pub doc: String,
    pub options: Vec<OptionForm>,
    /// Options that depend on the value of one of them.
    pub variants: Option<Variants>,
    /// More keywords of JSON Schema, in addition to those that follow from the options.
    pub constraint: Option<Json>,
}

/// The tables that the option `tag` chooses from.
#[derive(Clone, Debug)]
pub struct Variants {
    pub tag: &'static str,
    pub tables: Vec<(&'static str, TableForm)>,
}

/// The definition of one option.
#[derive(Clone, Debug)]
pub struct OptionForm {
    pub name: &'static str,
    pub doc: String,
    pub need: Need,
    pub form: Form,
    /// TOML text.
    pub example: Option<&'static str>,
}

/// What holds if an option is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Required,
    /// TOML text.
    Default(&'static str),
    Optional,
}

impl Form {
    pub fn text(words: impl Into<String>) -> Self {
        Self::of(words, json!({ "type": "string", "pattern": "\\S" }))
    }

    /// A text of a pattern, a regular expression as in ECMA 262.
    pub fn pattern(words: impl Into<String>, pattern: &str) -> Self {
        Self::of(words, json!({ "type": "string", "pattern": pattern }))
    }

    pub fn of(words: impl Into<String>, schema: Json) -> Self {
        Self::Value { words: words.into(), schema }
    }

    /// A table whose keys are any names.
    pub fn map(words: &'static str, of: Form) -> Self {
        Self::Map { words, names: "", of: Box::new(of) }
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::Value { words, .. } => words.clone(),
            Self::Map { words, .. } => (*words).to_owned(),
            Self::List { of, .. } => format!("a list; each of it {}", of.words()),
            Self::Table(_) => "a table".to_owned(),
            Self::Either(forms) => forms.iter().map(Self::words).collect::<Vec<_>>().join(", or "),
            Self::Named { name, .. } => match *name {
                "secret" => "a reference to a secret".to_owned(),
                name => format!("a {name}"),
            },
        }
    }

    fn schema(&self, definitions: &mut BTreeMap<&'static str, Json>) -> Json {
        match self {
            Self::Value { schema, .. } => schema.clone(),
            Self::List { of, least } => {
                json!({ "type": "array", "items": of.schema(definitions), "minItems": least })
            }
            Self::Map { of, names, .. } => json!({
                "type": "object",
                "additionalProperties": of.schema(definitions),
                "propertyNames": { "pattern": names },
            }),
            Self::Table(table) => table.schema(definitions),
            Self::Either(forms) => {
                let forms: Vec<Json> = forms.iter().map(|form| form.schema(definitions)).collect();
                json!({ "anyOf": forms })
            }
            Self::Named { name, make } => {
                if !definitions.contains_key(name) {
                    // Before it is made, so that a form that contains itself ends.
                    definitions.insert(name, Json::Null);
                    let schema = make().schema(definitions);
                    definitions.insert(name, schema);
                }
                json!({ "$ref": format!("#/$defs/{name}") })
            }
        }
    }
}

impl TableForm {
    /// The JSON Schema of a file with these options.
    pub fn file_schema(&self, title: &str) -> Json {
        let mut definitions = BTreeMap::new();
        let mut schema = self.schema(&mut definitions);
        schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        schema["title"] = json!(title);
        schema["$defs"] = json!(definitions);
        schema
    }

    fn schema(&self, definitions: &mut BTreeMap<&'static str, Json>) -> Json {
        let Some(variants) = &self.variants else {
            return self.plain_schema(self.options.iter().collect(), definitions);
        };
        let tables = variants.tables.iter().map(|(tag, table)| {
            let options = self.options.iter().chain(&table.options).collect();
            let mut schema = table.plain_schema(options, definitions);
            schema["properties"][variants.tag]["const"] = json!(tag);
            schema
        });
        json!({ "oneOf": tables.collect::<Vec<_>>() })
    }

    fn plain_schema(
        &self,
        options: Vec<&OptionForm>,
        definitions: &mut BTreeMap<&'static str, Json>,
    ) -> Json {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for option in options {
            properties.insert(option.name.to_owned(), option.schema(definitions));
            if option.need == Need::Required {
                required.push(option.name);
            }
        }
        let mut schema =
            json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if !self.doc.is_empty() {
            schema["description"] = json!(self.doc);
        }
        if let Some(Json::Object(more)) = &self.constraint {
            for (keyword, value) in more {
                schema[keyword.as_str()] = value.clone();
            }
        }
        schema
    }
}

impl OptionForm {
    fn schema(&self, definitions: &mut BTreeMap<&'static str, Json>) -> Json {
        let mut schema = self.form.schema(definitions);
        if !self.doc.is_empty() {
            schema["description"] = json!(self.doc);
        }
        let json = |text: &str| {
            let table: toml::Table = format!("value = {text}").parse().ok()?;
            serde_json::to_value(table.get("value")?).ok()
        };
        if let Need::Default(text) = self.need
            && let Some(default) = json(text)
        {
            schema["default"] = default;
        }
        if let Some(example) = self.example.and_then(json) {
            schema["examples"] = json!([example]);
        }
        schema
    }
}

/// A description from the lines of a doc comment.
pub fn doc(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}
