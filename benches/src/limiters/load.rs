//! Requests from a seed, sent through a limiter.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::limiter::{Limiter, Request};
use crate::record::Record;

/// A run: one limiter, the requests sent through it, and their charges.
pub(crate) struct Run {
    pub(crate) limiter: Limiter,
    pub(crate) record: Record,
}

/// The documents of one sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Documents {
    pub(crate) partition: u32,
    /// The smallest and the largest size in bytes; every magnitude is equally likely.
    pub(crate) bytes: (f64, f64),
}

/// `SplitMix64`: the same requests for every limiter and in every version.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    /// From 0, inclusive, to 1, exclusive.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let high = u32::try_from((x ^ (x >> 31)) >> 32).unwrap_or(0);
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }

    fn request(&mut self, documents: Documents) -> Request {
        let (least, most) = documents.bytes;
        let bytes = least * (most / least).powf(self.share());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
        let size = bytes as usize;
        Request { partition: documents.partition, bytes: size, price: price(bytes) }
    }
}

/// The mean charge of writing a document: 8 RU for 1 KiB, and a tenth of that for each further KiB.
pub(crate) fn price(bytes: f64) -> f64 {
    8.0 * (1.0 + 0.1 * (bytes / 1024.0 - 1.0).max(0.0))
}

impl Run {
    /// Sends one request: 1 to 10 ms there, a charge that is off by up to half, 1 to 10 ms back.
    async fn send(&self, request: Request, seeded: &mut Seeded) {
        let (there, back) = (seeded.share(), seeded.share());
        let charge = request.price * (0.5 + seeded.share());
        let answer = async {
            sleep(Duration::from_secs_f64(0.001 + 0.009 * there)).await;
            self.record.add(request.partition, charge, request.price);
            sleep(Duration::from_secs_f64(0.001 + 0.009 * back)).await;
            charge
        };
        self.limiter.send(request, answer).await;
    }
}

/// A number of senders that always have one more document.
pub(crate) fn greedy(
    tasks: &mut JoinSet<()>,
    run: &Arc<Run>,
    senders: u64,
    documents: Documents,
    seed: u64,
) {
    for sender in 0..senders {
        let run = Arc::clone(run);
        tasks.spawn(async move {
            let mut seeded = Seeded((seed << 40) + (u64::from(documents.partition) << 20) + sender);
            loop {
                let request = seeded.request(documents);
                run.send(request, &mut seeded).await;
            }
        });
    }
}

/// Documents that arrive at a fixed rate, in request units per second, independent of earlier results; the
/// number of concurrent sends is limited.
pub(crate) fn steady(
    tasks: &mut JoinSet<()>,
    run: &Arc<Run>,
    rate: f64,
    at_a_time: usize,
    documents: Documents,
) {
    let run = Arc::clone(run);
    let turns = Arc::new(Semaphore::new(at_a_time));
    tasks.spawn(async move {
        let mut seeded = Seeded(u64::from(documents.partition) << 20);
        let mut sent = JoinSet::new();
        let mut due = 0.0;
        for number in 0_u64.. {
            let request = seeded.request(documents);
            run.record.until(due).await;
            due += request.price / rate;
            let (run, turns) = (Arc::clone(&run), Arc::clone(&turns));
            let mut seeded = Seeded(seeded.0 ^ (number << 20));
            sent.spawn(async move {
                let _turn = turns.acquire().await;
                run.send(request, &mut seeded).await;
            });
        }
    });
}
