use super::*;

/// A container in memory, with a log of what was done to it.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    documents: BTreeMap<String, Value>,
    log: Vec<String>,
}

impl Shelf {
    fn with(count: u64) -> Self {
        let shelf = Self::default();
        for order in Orders::new(1).iter().take(usize::try_from(count).unwrap()) {
            let id = order["id"].as_str().unwrap().to_owned();
            shelf.0.lock().unwrap().documents.insert(id, order);
        }
        shelf
    }

    fn documents(&self) -> BTreeMap<String, Value> {
        self.0.lock().unwrap().documents.clone()
    }

    fn log(&self) -> Vec<String> {
        self.0.lock().unwrap().log.clone()
    }
}

impl Documents for Shelf {
    type Place = String;

    async fn places(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().documents.keys().map(|id| (id.clone(), id.clone())).collect()
    }

    async fn read(&self, place: &String) -> Option<Value> {
        self.0.lock().unwrap().documents.get(place).cloned()
    }

    async fn upsert(&self, document: Value) -> Result<String, String> {
        let id = document["id"].as_str().unwrap().to_owned();
        let mut shelf = self.0.lock().unwrap();
        shelf.log.push(format!("upsert {id} {}", document["sequence"]));
        shelf.documents.insert(id.clone(), document);
        Ok(id)
    }

    async fn delete(&self, place: &String) -> bool {
        let mut shelf = self.0.lock().unwrap();
        shelf.log.push(format!("delete {place}"));
        shelf.documents.remove(place).is_some()
    }
}

fn plan() -> Plan {
    Plan {
        rate: 1000.0,
        inserts: 2,
        updates: 7,
        deletes: 1,
        seed: 5,
        operations: Some(2000),
        time: None,
    }
}

async fn finished(workloads: &Workloads, number: u64) -> Progress {
    loop {
        let progress = workloads.progress(number).unwrap();
        if !progress.running {
            return progress;
        }
        tokio::time::sleep(TICK).await;
    }
}

#[tokio::test(start_paused = true)]
async fn operations_are_counted_and_happen_in_their_weights() {
    let (workloads, shelf) = (Workloads::default(), Shelf::with(100));
    let number = workloads.start(shelf.clone(), plan()).unwrap();
    let progress = finished(&workloads, number).await;
    assert_eq!(progress.operations, 2000);
    assert_eq!(shelf.log().len(), 2000, "every counted operation was carried out");
    assert!((1300..1500).contains(&progress.updates), "{progress:?}");
    assert!((330..470).contains(&progress.inserts), "{progress:?}");
    let left = 100 + progress.inserts - progress.deletes;
    assert_eq!(shelf.documents().len() as u64, left);
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_the_whole_workload() {
    let (workloads, first, second) = (Workloads::default(), Shelf::with(50), Shelf::with(50));
    for shelf in [&first, &second] {
        let number = workloads.start(shelf.clone(), plan()).unwrap();
        finished(&workloads, number).await;
    }
    assert_eq!(first.log(), second.log());
    assert_eq!(first.documents(), second.documents());
}

#[tokio::test(start_paused = true)]
async fn the_rate_and_the_time_bound_it() {
    let (workloads, shelf) = (Workloads::default(), Shelf::with(10));
    let plan = Plan { rate: 50.0, operations: None, time: Some(Duration::from_secs(4)), ..plan() };
    let started = Instant::now();
    let number = workloads.start(shelf, plan).unwrap();
    let progress = finished(&workloads, number).await;
    assert_eq!(progress.operations, 200);
    assert!(started.elapsed() < Duration::from_millis(4100), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_after_a_stop() {
    let (workloads, shelf) = (Workloads::default(), Shelf::with(10));
    let number = workloads.start(shelf.clone(), Plan { operations: None, ..plan() }).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stopped = workloads.stop(number).await.unwrap();
    assert!(!stopped.running);
    assert!((900..=1000).contains(&stopped.operations), "{stopped:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shelf.log().len() as u64, stopped.operations);
    assert_eq!(workloads.progress(number), Some(stopped));
    assert_eq!(workloads.progress(number + 1), None);
}

#[tokio::test(start_paused = true)]
async fn new_orders_continue_the_numbers_and_updates_raise_the_sequence() {
    let (workloads, shelf) = (Workloads::default(), Shelf::with(30));
    let number = workloads.start(shelf.clone(), Plan { deletes: 0, ..plan() }).unwrap();
    let progress = finished(&workloads, number).await;
    let documents = shelf.documents();
    let ids: Vec<_> = (1..=30 + progress.inserts).map(crate::orders::id).collect();
    assert!(documents.keys().eq(ids.iter()));
    let raised: u64 = documents.values().map(|d| d["sequence"].as_u64().unwrap() - 1).sum();
    assert_eq!(raised, progress.updates);
}

#[tokio::test(start_paused = true)]
async fn a_container_without_documents_gets_some_or_ends_the_workload() {
    let workloads = Workloads::default();
    let empty = Shelf::default();
    let number = workloads.start(empty.clone(), plan()).unwrap();
    assert_eq!(finished(&workloads, number).await.operations, 2000);

    let only_deletes = Plan { inserts: 0, updates: 0, ..plan() };
    let number = workloads.start(Shelf::with(5), only_deletes).unwrap();
    let progress = finished(&workloads, number).await;
    assert_eq!(progress.deletes, 5);
    assert!(progress.error.is_some(), "{progress:?}");
}

#[tokio::test]
async fn a_plan_that_does_nothing_is_refused() {
    let workloads = Workloads::default();
    let start = |plan: Plan| workloads.start(Shelf::default(), plan);
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(start(Plan { rate, ..plan() }), Err(PlanError::Rate), "{rate}");
    }
    let idle = Plan { inserts: 0, updates: 0, deletes: 0, ..plan() };
    assert_eq!(start(idle), Err(PlanError::Nothing));
}
