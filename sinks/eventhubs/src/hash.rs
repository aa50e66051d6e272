//! The partition of a key.

/// The index of the partition of `key`, as the service computes it: Jenkins' lookup3 of the key's
/// UTF-8 bytes, its two halves folded to 16 bits, and the signed remainder without its sign.
///
/// Source: `PartitionResolver.cs` of the vendor's .NET client, which states that it matches the code of
/// the service.
pub fn partition_of(key: &str, partitions: usize) -> usize {
    let remainder = i64::from(hash(key)) % i64::try_from(partitions).unwrap_or(i64::MAX).max(1);
    usize::try_from(remainder.unsigned_abs()).unwrap_or(0)
}

#[allow(clippy::cast_possible_truncation, reason = "the service keeps the low 16 bits")]
fn hash(key: &str) -> i16 {
    let (first, second) = lookup3(key.as_bytes());
    ((first ^ second) as u16).cast_signed()
}

/// Bob Jenkins, lookup3.c (2006), `hashlittle2` with both seeds zero.
#[allow(clippy::many_single_char_names, reason = "the names of the original")]
fn lookup3(key: &[u8]) -> (u32, u32) {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut a = 0xdead_beef_u32.wrapping_add(length);
    let mut b = a;
    let mut c = a;
    // The last block, of one to twelve bytes, is mixed differently.
    let whole = key.len().saturating_sub(1) / 12;
    let (blocks, tail) = key.split_at(whole * 12);
    for block in blocks.chunks_exact(12) {
        a = a.wrapping_add(word(block, 0));
        b = b.wrapping_add(word(block, 4));
        c = c.wrapping_add(word(block, 8));
        for (rotation, turn) in [4, 6, 8, 16, 19, 4].into_iter().zip(0..) {
            let (x, y, z) = match turn % 3 {
                0 => (&mut a, &mut b, &mut c),
                1 => (&mut b, &mut c, &mut a),
                _ => (&mut c, &mut a, &mut b),
            };
            *x = x.wrapping_sub(*z) ^ z.rotate_left(rotation);
            *z = z.wrapping_add(*y);
        }
    }
    if tail.is_empty() {
        return (c, b);
    }
    a = a.wrapping_add(word(tail, 0));
    b = b.wrapping_add(word(tail, 4));
    c = c.wrapping_add(word(tail, 8));
    for (rotation, turn) in [14, 11, 25, 16, 4, 14, 24].into_iter().zip(0..) {
        let (x, y) = match turn % 3 {
            0 => (&mut c, b),
            1 => (&mut a, c),
            _ => (&mut b, a),
        };
        *x = (*x ^ y).wrapping_sub(y.rotate_left(rotation));
    }
    (c, b)
}

/// Four bytes, little-endian, padded with zeros at the end of the key.
fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    let rest = bytes.get(at..).unwrap_or(&[]);
    let length = rest.len().min(4);
    word[..length].copy_from_slice(&rest[..length]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::{hash, partition_of};

    /// The vectors of `PartitionResolverTests.cs` in the vendor's .NET client.
    const VECTORS: [(&str, i16); 12] = [
        ("7", -15263),
        ("131", 30562),
        ("7149583486996073602", 12977),
        ("FWfAT", -22341),
        ("sOdeEAsyQoEuEFPGerWO", -6503),
        (
            "FAyAIctPeCgmiwLKbJcyswoHglHVjQdvtBowLACDNORsYvOcLddNJYDmhAVkbyLOrHTKLneMNcbgWVlasVywOByANjs",
            5226,
        ),
        (
            "1XYM6!(7(lF5wq4k4m*e$Nc!1ezLJv*1YK1Y-C^*&B$O)lq^iUkG(TNzXG;Zi#z2Og*Qq0#^*k):vXh$3,C7We7%W0meJ;b3,rQCg^J;^twXgs5E$$hWKxqp",
            23950,
        ),
        (
            "E(x;RRIaQcJs*P;D&jTPau-4K04oqr:lF6Z):ERpo&;9040qyV@G1_c9mgOs-8_8/10Fwa-7b7-yP!T-!IH&968)FWuI;(^g$2fN;)HJ^^yTn:",
            -29304,
        ),
        ("!c*_!I@1^c", 15372),
        ("p4*!jioeO/z-!-;w:dh", -3104),
        ("$0cb", 26269),
        ("-4189260826195535198", 453),
    ];

    #[test]
    fn the_hash_is_that_of_the_vendors_clients() {
        for (key, expected) in VECTORS {
            assert_eq!(hash(key), expected, "{key}");
        }
    }

    #[test]
    fn a_negative_hash_loses_its_sign_after_the_division() {
        // -15263 % 4 is -3 in C#, and its absolute value is 3.
        assert_eq!(partition_of("7", 4), 3);
        assert_eq!(partition_of("131", 4), 2);
    }
}
