//! Which slot of a cluster holds a key, and names for keys of the same slot.
//!
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags>

const SLOTS: u16 = 16384;

/// The slot of a key.
pub(crate) fn slot(key: &str) -> u16 {
    crc16(hash_tag(key).unwrap_or(key).as_bytes()) % SLOTS
}

/// A key in the slot of `key`: `prefix` and the key, in braces unless the key has a hash tag.
pub(crate) fn companion(prefix: &str, key: &str) -> String {
    if hash_tag(key).is_some() {
        return format!("{prefix}{key}");
    }
    if !key.is_empty() && !key.contains('}') {
        return format!("{prefix}{{{key}}}");
    }
    // The key cannot be a hash tag. Every slot has a number as its hash tag.
    let wanted = slot(key);
    let tag = (0..u32::MAX).find(|tag| slot(&tag.to_string()) == wanted).unwrap_or_default();
    format!("{prefix}{{{tag}}}{key}")
}

/// The text between the first opening brace and the next closing brace, if it is not empty.
fn hash_tag(key: &str) -> Option<&str> {
    let (_, after) = key.split_once('{')?;
    let (tag, _) = after.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots as `CLUSTER KEYSLOT` of Redis 7.0.15 prints them; tests/redis/cluster.rs asks a server.
    #[test]
    fn slots_are_those_of_the_server() {
        let table = [
            ("", 0),
            ("123456789", 12739),
            ("foo", 12182),
            ("user:{foo}:x", 12182),
            ("{}foo", 9500),
            ("a{b", 13340),
        ];
        for (key, expected) in table {
            assert_eq!(slot(key), expected, "{key}");
        }
    }

    #[test]
    fn a_companion_is_in_the_slot_of_its_key() {
        let table = [
            ("orders:1", "p:{orders:1}"),
            ("orders:{1}", "p:orders:{1}"),
            ("{orders", "p:{{orders}"),
            ("", ""),
            ("}", ""),
            ("orders:1}", ""),
            ("{}orders", ""),
            ("a}b{c}", "p:a}b{c}"),
        ];
        for (key, expected) in table {
            let companion = companion("p:", key);
            assert_eq!(slot(&companion), slot(key), "{key}: {companion}");
            assert!(expected.is_empty() || companion == expected, "{key}: {companion}");
        }
        assert_ne!(companion("p:", "}"), companion("p:", "{}orders"));
    }
}
