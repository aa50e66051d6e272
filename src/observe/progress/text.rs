//! The progress as lines of text that fit a terminal. Pure: counters and a size in, lines out.

use std::time::Duration;

use indicatif::HumanCount;

use crate::observe::limit::Limit;
use crate::observe::pipeline_sink::Straggler;
use crate::observe::progress_sampler::{PipelineProgress, Progress, Rates};

/// A terminal, in columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Between the parts of a line.
const GAP: &str = "  ";

/// The inner widths of the bar, with brackets around it.
const BARS: [usize; 3] = [8, 16, 32];

/// Names of pipelines have up to 64 characters.
const NAME_WIDTH: usize = 20;

/// The display: one line for each pipeline as far as the rows allow, and below them what holds for all. No line
/// is as wide as the terminal, because some terminals wrap a line that is.
pub(super) fn display(progress: &Progress, size: Size) -> Vec<String> {
    let width = size.columns.saturating_sub(1).max(1);
    // At least one row is left for log lines.
    let rows = size.rows.saturating_sub(1).max(1);
    let common = pack(common(progress), width);
    let pipelines = &progress.pipelines;
    let all = pipelines.len();
    let for_pipelines = rows.saturating_sub(common.len()).max(1);
    let shown = match all {
        _ if all <= for_pipelines => all,
        // One row says how many more there are.
        _ => for_pipelines.saturating_sub(1).max(1),
    };
    let mut by_lag: Vec<usize> = (0..all).collect();
    by_lag.sort_by_key(|at| std::cmp::Reverse(pipelines[*at].totals.lag_seconds));
    by_lag.truncate(shown);
    by_lag.sort_unstable();
    let names = by_lag.iter().map(|at| pipelines[*at].name.len()).max().unwrap_or(0);
    let name_width = if all > 1 { names.min(NAME_WIDTH).min(width / 3) } else { 0 };
    let mut lines: Vec<_> =
        by_lag.iter().map(|at| line(&pipelines[*at], name_width, width)).collect();
    if shown < all && lines.len() < for_pipelines {
        lines.push(cut(&format!("and {} pipelines with a shorter lag", all - shown), width));
    }
    lines.extend(common);
    lines.truncate(rows);
    lines
}

/// A part of a line.
struct Part {
    /// From short to long: the longest one that fits is shown.
    forms: Vec<String>,
    /// The lower, the longer it stays if there is little room.
    rank: u8,
}

/// The line of one pipeline; its name is left out if its width is 0.
fn line(pipeline: &PipelineProgress, name_width: usize, width: usize) -> String {
    let PipelineProgress { name, totals, delivered_per_second, remaining } = pipeline;
    let is_caught_up = totals.ranges > 0 && totals.caught_up == totals.ranges;
    let known = totals.distance.filter(|distance| *distance > 0 && !is_caught_up);
    let done = known.map(|_| totals.done.clamp(0.0, 1.0));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
    let percent = done.map(|done| format!("{:>2}%", (done * 100.0) as u64));
    let of = known.map(|total| format!(" of {} changes", HumanCount(total)));
    let bars = done.map(|done| BARS.map(|inner| bar(done, inner)).to_vec());
    let share = percent.map(|short| vec![short.clone(), short + &of.unwrap_or_default()]);
    let one = |text: String| Some(vec![text]);
    let remaining = match remaining {
        _ if is_caught_up => one("caught up".to_owned()),
        Some(left) => one(format!("ETA {}", rough(*left))),
        None => None,
    };
    let letters = match totals.dead_letters_stored {
        0 => None,
        n => {
            Some(vec![format!("{} DEAD", HumanCount(n)), format!("{} DEAD LETTERS", HumanCount(n))])
        }
    };
    let name = (name_width > 0).then(|| vec![format!("{:name_width$}", cut(name, name_width))]);
    let parts = [
        (name, 0),
        (bars, 7),
        (share, 2),
        (one(format!("{} documents", HumanCount(totals.delivered))), 3),
        (delivered_per_second.and_then(|rate| one(format!("{rate:.0}/s"))), 5),
        (one(format!("lag {}", rough(Duration::from_secs(totals.lag_seconds)))), 6),
        (remaining, 4),
        (letters, 1),
    ];
    let parts = parts.into_iter().filter_map(|(forms, rank)| Some(Part { forms: forms?, rank }));
    fit(&parts.collect::<Vec<_>>(), width)
}

/// A bar with brackets.
fn bar(done: f64, inner: usize) -> String {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to some columns"
    )]
    let full = (done * inner as f64) as usize;
    let head = if full < inner { ">" } else { "" };
    format!("[{:inner$}]", "=".repeat(full) + head)
}

/// What concerns all pipelines, the most important first.
fn common(progress: &Progress) -> Vec<String> {
    let Progress { rates, stragglers, .. } = progress;
    let mut parts = Vec::new();
    let Some(rates) = rates else { return parts };
    if let Some(limit) = rates.limit.as_ref().filter(|limit| **limit != Limit::Nothing) {
        parts.push(format!("held back by {limit}"));
    }
    if !stragglers.is_empty() {
        parts.push(format!("behind: {}", names(stragglers)));
    }
    let Rates { source_ru, source_budget, target_ru, target_budget, .. } = rates;
    let of = |used: f64, budget: Option<f64>| match budget {
        Some(budget) => format!("{used:.0} of {budget:.0}"),
        None => format!("{used:.0}"),
    };
    let (read, written) = (of(*source_ru, *source_budget), of(*target_ru, *target_budget));
    parts.push(format!("RU/s read {read}, written {written}"));
    parts
}

/// Sinks that read separately, with their lags.
pub(super) fn names(stragglers: &[Straggler]) -> String {
    let name = |one: &Straggler| format!("{} ({} s)", one.sink, one.lag_seconds);
    stragglers.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Shows as many parts as fit, in their order: first each in its shortest form, then longer forms.
fn fit(parts: &[Part], width: usize) -> String {
    let mut chosen: Vec<Option<usize>> = vec![None; parts.len()];
    let mut by_rank: Vec<usize> = (0..parts.len()).collect();
    by_rank.sort_by_key(|at| parts[*at].rank);
    let columns_of = |chosen: &[Option<usize>]| {
        let shown = parts.iter().zip(chosen).filter_map(|(part, form)| part.forms.get((*form)?));
        let widths: Vec<_> = shown.map(|text| columns(text)).collect();
        widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1)
    };
    let longest = parts.iter().map(|part| part.forms.len()).max().unwrap_or(0);
    for form in 0..longest {
        for at in &by_rank {
            let before = chosen[*at];
            let is_next = form == before.map_or(0, |shown| shown + 1);
            if is_next && form < parts[*at].forms.len() {
                chosen[*at] = Some(form);
                if columns_of(&chosen) > width {
                    chosen[*at] = before;
                }
            }
        }
    }
    let shown = parts.iter().zip(&chosen).filter_map(|(part, form)| part.forms.get((*form)?));
    cut(&shown.cloned().collect::<Vec<_>>().join(GAP), width)
}

/// Fills lines with parts in their order; a part that is wider than a line is cut.
fn pack(parts: Vec<String>, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        let part = cut(&part, width);
        match lines.last_mut() {
            Some(line) if columns(line) + GAP.len() + columns(&part) <= width => {
                *line += GAP;
                *line += &part;
            }
            _ => lines.push(part),
        }
    }
    lines
}

/// The columns that a text takes at most: a character that is not ASCII may take two.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}

/// A text that fits, with dots in place of what does not.
fn cut(text: &str, width: usize) -> String {
    const DOTS: &str = "..";
    if columns(text) <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(DOTS.len());
    let mut used = 0;
    let kept = text.chars().take_while(|c| {
        used += if c.is_ascii() { 1 } else { 2 };
        used <= room
    });
    let kept = kept.collect::<String>() + DOTS;
    kept.chars().take(width).collect()
}

/// A duration in one or two units.
fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if minutes == 0 => format!("{seconds} s"),
        () if hours == 0 => format!("{minutes} min"),
        () if days == 0 => format!("{hours} h {} min", minutes % 60),
        () => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests;
