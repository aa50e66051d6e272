//! Cycles among copies from one place to another.

/// The cycles among these edges, as the numbers of their edges in order. An edge from a place to itself is
/// in none of them. Every edge of a cycle is named at least once.
pub fn cycles<P>(edges: &[(P, P)], are_one: impl Fn(&P, &P) -> bool) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = Vec::new();
    for (number, (from, to)) in edges.iter().enumerate() {
        if are_one(from, to) || found.iter().flatten().any(|known| *known == number) {
            continue;
        }
        if let Some(back) = path(edges, to, from, &are_one) {
            found.push([vec![number], back].concat());
        }
    }
    found
}

/// The shortest way from one place to another.
fn path<P>(
    edges: &[(P, P)],
    from: &P,
    to: &P,
    are_one: &impl Fn(&P, &P) -> bool,
) -> Option<Vec<usize>> {
    let mut ways: Vec<Vec<usize>> = vec![Vec::new()];
    let mut seen = vec![from];
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in &ways {
            let here = way.last().map_or(from, |last| &edges[*last].1);
            let leaving = edges.iter().enumerate().filter(|(_, edge)| are_one(&edge.0, here));
            for (number, (_, next)) in leaving {
                let way = [way.as_slice(), &[number]].concat();
                if are_one(next, to) {
                    return Some(way);
                }
                if !seen.iter().any(|place| are_one(place, next)) {
                    seen.push(next);
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::cycles;

    #[test]
    fn cycles_are_found_with_all_their_edges() {
        type Case<'a> = (&'a [&'a str], &'a [&'a [usize]]);
        let cases: &[Case<'_>] = &[
            (&[], &[]),
            (&["a b", "b c", "a c"], &[]),
            // From a place to itself: not a cycle of several copies.
            (&["a a", "a b"], &[]),
            (&["a b", "b a"], &[&[0, 1]]),
            (&["a b", "b c", "c a", "a d"], &[&[0, 1, 2]]),
            // Two ways there and one back.
            (&["a b", "a b", "b a"], &[&[0, 2], &[1, 2]]),
            (&["a b", "b a", "c d", "d c"], &[&[0, 1], &[2, 3]]),
            // Places are one by more than their names.
            (&["a b", "B A"], &[&[0, 1]]),
        ];
        for (edges, expected) in cases {
            let edges: Vec<_> = edges
                .iter()
                .map(|edge| edge.split_once(' ').unwrap())
                .map(|(from, to)| (from.to_owned(), to.to_owned()))
                .collect();
            let found = cycles(&edges, |one, other| one.eq_ignore_ascii_case(other));
            assert_eq!(found, *expected, "{edges:?}");
        }
    }
}
