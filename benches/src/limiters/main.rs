//! `limiters`: the bridge's ledger compared with limiters built on the `governor` crate, under the
//! same load in real time. Prints one table; takes about half a minute.

mod admissions;
mod limiter;
mod load;
mod record;
mod scenarios;

use std::error::Error;

use tokio::runtime::Builder;

use limiter::Kind;

/// One row of the table: the measured quantity, and a figure per limiter.
pub(crate) type Row = (String, Vec<String>);

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let several = Builder::new_multi_thread().enable_time().build()?;
    let mut rows = several.block_on(scenarios::all())?;
    drop(several);
    // One thread, so that its CPU time is that of the admissions.
    let one = Builder::new_current_thread().enable_time().build()?;
    rows.extend(one.block_on(admissions::all())?);

    println!("| | {} |", Kind::ALL.map(Kind::name).join(" | "));
    println!("| --- |{}", " ---: |".repeat(Kind::ALL.len()));
    for (what, figures) in rows {
        println!("| {what} | {} |", figures.join(" | "));
    }
    Ok(())
}
