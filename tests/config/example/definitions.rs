//! The tables of the configuration, from the definitions of their options.

use cosmos_bridge::config::{Config, Options as _};
use cosmos_bridge_options::{Form, OptionForm, TableForm};

/// A table that has a header in the file.
pub(super) struct Table {
    /// The header's path, with NAME for a name that the user chooses, and `[]` for a list.
    pub(super) path: String,
    /// What the table above says of it.
    pub(super) title: String,
    pub(super) form: TableForm,
}

impl Table {
    pub(super) fn header(&self) -> String {
        match self.path.strip_suffix("[]") {
            Some(path) => format!("[[{path}]]"),
            None => format!("[{}]", self.path),
        }
    }

    /// Every option that may be written under the header, once.
    pub(super) fn options(&self) -> Vec<&OptionForm> {
        let variants = self.form.variants.iter().flat_map(|variants| &variants.tables);
        let mut options: Vec<&OptionForm> = Vec::new();
        for option in self.form.options.iter().chain(variants.flat_map(|(_, form)| &form.options)) {
            if !options.iter().any(|known| known.name == option.name)
                && header(&self.path, option).is_none()
            {
                options.push(option);
            }
        }
        options
    }
}

/// Every table with a header, in the order of the definitions.
pub(super) fn tables() -> Vec<Table> {
    let mut tables = Vec::new();
    collect("", String::new(), &Config::form(), &mut tables);
    tables
}

fn collect(path: &str, title: String, form: &TableForm, tables: &mut Vec<Table>) {
    if path != "sinks" {
        tables.push(Table { path: path.to_owned(), title, form: form.clone() });
    }
    for option in &form.options {
        if let Some((path, form)) = header(path, option) {
            collect(&path, option.doc.clone(), form, tables);
        }
    }
}

/// The path and the form of an option that is a table with a header; the others are written in a line.
fn header<'f>(path: &str, option: &'f OptionForm) -> Option<(String, &'f TableForm)> {
    let name =
        if path.is_empty() { option.name.to_owned() } else { format!("{path}.{}", option.name) };
    let has_header = ["", "sinks"].contains(&path)
        || ["source", "routes", "dead_letters", "mirror", "sweep"].contains(&option.name);
    match &option.form {
        _ if !has_header => None,
        Form::Table(form) => Some((name, form)),
        Form::Map { of, .. } | Form::List { of, .. } => match &**of {
            Form::Table(form) if matches!(option.form, Form::Map { .. }) => {
                Some((format!("{name}.NAME"), form))
            }
            Form::Table(form) => Some((format!("{name}[]"), form)),
            _ => None,
        },
        _ => None,
    }
}
