//! Which partition a key belongs to. Written for this server from the published algorithms, and not shared
//! with the sink, so that a mistake in one of the two shows in the tests.

/// The partition of `key`: Event Hubs hashes the key's UTF-8 bytes with lookup3, folds the two results to a
/// signed 16-bit number, and takes the absolute value of the remainder of its division by the number of
/// partitions. This is how `PartitionResolver.cs` of the vendor's .NET client does it.
pub(crate) fn partition_of(key: &str, partitions: usize) -> usize {
    let (c, b) = hash_little_2(key.as_bytes());
    let [low, high, ..] = (c ^ b).to_le_bytes();
    let folded = i16::from_le_bytes([low, high]);
    // The sign of a remainder is that of the dividend, in C# as in Rust.
    let remainder = match i32::try_from(partitions) {
        Ok(count) if count > 0 => i32::from(folded) % count,
        _ => 0,
    };
    remainder.unsigned_abs() as usize
}

/// `hashlittle2` of Bob Jenkins' lookup3.c (May 2006, public domain), both initial values zero. It returns
/// `(*pc, *pb)` of the original.
fn hash_little_2(key: &[u8]) -> (u32, u32) {
    let mut state = State::new(key.len());
    let mut rest = key;
    while rest.len() > 12 {
        let (block, behind) = rest.split_at(12);
        state.add(block);
        state.mix();
        rest = behind;
    }
    if !rest.is_empty() {
        state.add(rest);
        state.finish();
    }
    (state.c, state.b)
}

/// The internal state of lookup3.
struct State {
    a: u32,
    b: u32,
    c: u32,
}

impl State {
    fn new(length: usize) -> Self {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let initial = 0xdead_beef_u32.wrapping_add(length);
        Self { a: initial, b: initial, c: initial }
    }

    /// Adds up to twelve bytes: four to each word, the least significant first.
    fn add(&mut self, bytes: &[u8]) {
        for (position, byte) in bytes.iter().enumerate() {
            let word = match position / 4 {
                0 => &mut self.a,
                1 => &mut self.b,
                _ => &mut self.c,
            };
            *word = word.wrapping_add(u32::from(*byte) << (8 * (position % 4)));
        }
    }

    /// The macro `mix(a, b, c)`.
    fn mix(&mut self) {
        let Self { a, b, c } = self;
        subtract_and_add(a, c, *b, 4);
        subtract_and_add(b, a, *c, 6);
        subtract_and_add(c, b, *a, 8);
        subtract_and_add(a, c, *b, 16);
        subtract_and_add(b, a, *c, 19);
        subtract_and_add(c, b, *a, 4);
    }

    /// The macro `final(a, b, c)`.
    fn finish(&mut self) {
        let Self { a, b, c } = self;
        xor_and_subtract(c, *b, 14);
        xor_and_subtract(a, *c, 11);
        xor_and_subtract(b, *a, 25);
        xor_and_subtract(c, *b, 16);
        xor_and_subtract(a, *c, 4);
        xor_and_subtract(b, *a, 14);
        xor_and_subtract(c, *b, 24);
    }
}

/// One line of `mix`: `x -= y; x ^= rot(y, bits); y += z;`
fn subtract_and_add(x: &mut u32, y: &mut u32, z: u32, bits: u32) {
    *x = x.wrapping_sub(*y);
    *x ^= y.rotate_left(bits);
    *y = y.wrapping_add(z);
}

/// One line of `final`: `x ^= y; x -= rot(y, bits);`
fn xor_and_subtract(x: &mut u32, y: u32, bits: u32) {
    *x ^= y;
    *x = x.wrapping_sub(y.rotate_left(bits));
}

#[cfg(test)]
mod tests {
    use super::{hash_little_2, partition_of};

    /// The results that `driver5` in lookup3.c documents.
    #[test]
    fn lookup3_has_the_results_of_its_author() {
        assert_eq!(hash_little_2(b""), (0xdead_beef, 0xdead_beef));
        let text = b"Four score and seven years ago";
        assert_eq!(hash_little_2(text), (0x1777_0551, 0xce72_26e6));
    }

    /// Keys with their folded hashes are from `PartitionResolverTests.cs` of the vendor's .NET client:
    /// short ones, ones that end with a whole block of twelve bytes or amid one, and negative hashes.
    #[test]
    fn partitions_are_those_of_the_vendors_clients() {
        let keys: [(&str, i16); 12] = [
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
        for (key, hash) in keys {
            for partitions in [1, 2, 4, 32, 100] {
                let expected = usize::from((hash % partitions).unsigned_abs());
                assert_eq!(
                    partition_of(key, usize::from(partitions.unsigned_abs())),
                    expected,
                    "{key}"
                );
            }
        }
        assert_eq!((partition_of("7", 4), partition_of("131", 4)), (3, 2));
    }
}
