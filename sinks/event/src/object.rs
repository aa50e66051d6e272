//! Writes JSON objects of which some members are text already.

use serde::Serialize;

/// An object that is written to the end of a text.
pub(crate) struct Object<'t> {
    text: &'t mut Vec<u8>,
    /// Written before the next member.
    sign: u8,
}

impl<'t> Object<'t> {
    pub(crate) fn open(text: &'t mut Vec<u8>) -> Self {
        Self { text, sign: b'{' }
    }

    pub(crate) fn member(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.written(name, |text| append_json(value, text));
    }

    /// A member whose value `write` appends.
    pub(crate) fn written(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.text.push(self.sign);
        self.sign = b',';
        append_json(name, self.text);
        self.text.push(b':');
        write(self.text);
    }

    pub(crate) fn close(self) {
        if self.sign == b'{' {
            self.text.push(b'{');
        }
        self.text.push(b'}');
    }
}

/// Ignores errors: texts, numbers and lists of them always have a JSON text, and a vector accepts it.
pub(crate) fn append_json(value: &(impl Serialize + ?Sized), text: &mut Vec<u8>) {
    drop(serde_json::to_writer(text, value));
}

#[cfg(test)]
mod tests {
    use super::Object;

    #[test]
    fn an_object_has_its_members_in_order() {
        let mut text = b"> ".to_vec();
        Object::open(&mut text).close();
        let mut object = Object::open(&mut text);
        object.member("a\"", &1);
        object.written("b", |text| text.extend_from_slice(b"[]"));
        object.close();
        assert_eq!(text, br#"> {}{"a\"":1,"b":[]}"#);
    }
}
