use std::fmt::Write as _;

use std::time::Duration;

use super::{Size, columns, cut, display, rough};
use crate::observe::Limit;
use crate::observe::pipeline_sink::Straggler;
use crate::observe::progress_sampler::{PipelineProgress, Progress, Rates};
use crate::observe::totals::Totals;

/// A first copy of 50,000 changes, at 41 %.
fn copying(name: &str, lag_seconds: u64) -> PipelineProgress {
    let totals = Totals {
        delivered: 20_726,
        ranges: 2,
        lag_seconds,
        done: 0.4145,
        distance: Some(50_000),
        ..Totals::default()
    };
    PipelineProgress {
        name: name.to_owned(),
        totals,
        delivered_per_second: Some(3696.4),
        remaining: Some(Duration::from_secs(11)),
    }
}

fn caught_up(name: &str) -> PipelineProgress {
    let mut progress = copying(name, 0);
    progress.totals.caught_up = 2;
    progress.totals.done = 1.0;
    progress.totals.dead_letters_stored = 1204;
    PipelineProgress {
        delivered_per_second: Some(0.0),
        remaining: Some(Duration::ZERO),
        ..progress
    }
}

/// The first moments: nothing is known but what was delivered.
fn beginning(name: &str) -> PipelineProgress {
    let totals = Totals { delivered: 17, ranges: 2, ..Totals::default() };
    PipelineProgress { name: name.to_owned(), totals, delivered_per_second: None, remaining: None }
}

fn limited() -> Rates {
    Rates {
        source_ru: 496.2,
        target_ru: 19_611.0,
        target_budget: Some(20_000.0),
        limit: Some(Limit::TargetBudget { container: "target/shop/orders_by_customer".to_owned() }),
        ..Rates::default()
    }
}

fn run(pipelines: Vec<PipelineProgress>, rates: Option<Rates>) -> Progress {
    let totals = Totals::default();
    Progress { totals, rates, pipelines, remaining: None, stragglers: Vec::new() }
}

fn shown(progress: &Progress, columns: usize, rows: usize) -> String {
    let lines = display(progress, Size { columns, rows });
    let lines = lines.into_iter().flat_map(|line| ["|".to_owned(), line, "\n".to_owned()]);
    lines.collect()
}

#[test]
fn the_display_fits_terminals_of_every_width() {
    let behind = Straggler {
        pipeline: "orders".to_owned(),
        sink: "events".to_owned(),
        ranges: 1,
        catching_up: 0,
        lag_seconds: 12,
        buffered_bytes: 0,
        reread: 0,
        reread_charge: 0.0,
    };
    let one = run(vec![copying("orders", 16)], Some(limited()));
    let several = Progress {
        stragglers: vec![behind],
        ..run(
            vec![
                copying("orders", 4000),
                caught_up("customers_of_every_region"),
                beginning("stock"),
            ],
            Some(limited()),
        )
    };
    let start = run(vec![beginning("orders")], None);
    let mut all = String::new();
    for (what, progress) in
        [("one pipeline", &one), ("the first seconds", &start), ("three pipelines", &several)]
    {
        for columns in [40, 80, 120, 200] {
            let text = shown(progress, columns, 24);
            writeln!(all, "{what}, {columns} columns\n{}", text.trim_end()).unwrap();
        }
    }
    insta::assert_snapshot!(all, @r"
    one pipeline, 40 columns
    |41%  20,726 documents  3696/s  ETA 11 s
    |held back by the RU budget for writin..
    |RU/s read 496, written 19611 of 20000
    one pipeline, 80 columns
    |[===>    ]  41% of 50,000 changes  20,726 documents  3696/s  lag 16 s  ETA 11 s
    |held back by the RU budget for writing target/shop/orders_by_customer
    |RU/s read 496, written 19611 of 20000
    one pipeline, 120 columns
    |[=============>                  ]  41% of 50,000 changes  20,726 documents  3696/s  lag 16 s  ETA 11 s
    |held back by the RU budget for writing target/shop/orders_by_customer  RU/s read 496, written 19611 of 20000
    one pipeline, 200 columns
    |[=============>                  ]  41% of 50,000 changes  20,726 documents  3696/s  lag 16 s  ETA 11 s
    |held back by the RU budget for writing target/shop/orders_by_customer  RU/s read 496, written 19611 of 20000
    the first seconds, 40 columns
    |17 documents  lag 0 s
    the first seconds, 80 columns
    |17 documents  lag 0 s
    the first seconds, 120 columns
    |17 documents  lag 0 s
    the first seconds, 200 columns
    |17 documents  lag 0 s
    three pipelines, 40 columns
    |orders         41%  20,726 documents
    |customers_o..  caught up  1,204 DEAD
    |stock          17 documents  lag 0 s
    |held back by the RU budget for writin..
    |behind: events (12 s)
    |RU/s read 496, written 19611 of 20000
    three pipelines, 80 columns
    |orders                41%  20,726 documents  3696/s  lag 1 h 6 min  ETA 11 s
    |customers_of_every..  20,726 documents  0/s  lag 0 s  caught up  1,204 DEAD
    |stock                 17 documents  lag 0 s
    |held back by the RU budget for writing target/shop/orders_by_customer
    |behind: events (12 s)  RU/s read 496, written 19611 of 20000
    three pipelines, 120 columns
    |orders                [======>         ]  41% of 50,000 changes  20,726 documents  3696/s  lag 1 h 6 min  ETA 11 s
    |customers_of_every..  20,726 documents  0/s  lag 0 s  caught up  1,204 DEAD LETTERS
    |stock                 17 documents  lag 0 s
    |held back by the RU budget for writing target/shop/orders_by_customer  behind: events (12 s)
    |RU/s read 496, written 19611 of 20000
    three pipelines, 200 columns
    |orders                [=============>                  ]  41% of 50,000 changes  20,726 documents  3696/s  lag 1 h 6 min  ETA 11 s
    |customers_of_every..  20,726 documents  0/s  lag 0 s  caught up  1,204 DEAD LETTERS
    |stock                 17 documents  lag 0 s
    |held back by the RU budget for writing target/shop/orders_by_customer  behind: events (12 s)  RU/s read 496, written 19611 of 20000
    ");
}

/// No size makes a line that wraps, or more lines than there are rows.
#[test]
fn no_line_is_as_wide_as_the_terminal() {
    let pipelines = |count: u64| {
        (0..count).map(|n| {
            let name = format!("pipeline_{n}_{}", "x".repeat(usize::try_from(n).unwrap()));
            match n % 3 {
                0 => copying(&name, n),
                1 => caught_up(&name),
                _ => beginning(&name),
            }
        })
    };
    for count in [0, 1, 2, 30] {
        let progress = run(pipelines(count).collect(), Some(limited()));
        for width in (1..250).chain([65_535]) {
            for rows in [1, 2, 3, 5, 24, 60] {
                let lines = display(&progress, Size { columns: width, rows });
                assert!(lines.len() <= (rows - 1).max(1), "{width} x {rows}: {lines:?}");
                for line in lines {
                    assert!(columns(&line) <= (width - 1).max(1), "{width} x {rows}: {line:?}");
                }
            }
        }
    }
}

#[test]
fn pipelines_beyond_the_height_are_counted_and_those_furthest_behind_are_shown() {
    let pipelines = (0..20).map(|n| copying(&format!("p{n}"), if n == 13 { 500 } else { n }));
    let progress = run(pipelines.collect(), None);
    insta::assert_snapshot!(shown(&progress, 60, 5), @r"
    |p13  41%  20,726 documents  3696/s  lag 8 min  ETA 11 s
    |p18  41%  20,726 documents  3696/s  lag 18 s  ETA 11 s
    |p19  41%  20,726 documents  3696/s  lag 19 s  ETA 11 s
    |and 17 pipelines with a shorter lag
    ");
}

#[test]
fn durations_have_one_or_two_units() {
    for (seconds, expected) in [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (93_600, "1 d 2 h"),
    ] {
        assert_eq!(rough(Duration::from_secs(seconds)), expected);
    }
}

#[test]
fn a_text_is_cut_to_columns_of_which_some_characters_take_two() {
    for (text, width, expected) in [
        ("orders", 6, "orders"),
        ("orders", 5, "ord.."),
        ("orders", 1, "."),
        ("\u{8a02}\u{5355}", 4, "\u{8a02}\u{5355}"),
        ("\u{8a02}\u{5355}", 3, ".."),
    ] {
        assert_eq!(cut(text, width), expected);
        assert!(columns(&cut(text, width)) <= width);
    }
}
