//! The operator's own eyes: scans from where `enxame` was called, on threads that block.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use enxame_core::names::NodeName;
use enxame_core::probe::{Scan, Scanned};
use enxame_node::scan::{Effort, ScanError, local_address, scan, window};
use tokio::sync::mpsc;

use super::exposure::{Lookout, Missed};
use crate::fleet::causes;
use crate::render::progress::Progress;

/// Scans from here.
pub(crate) struct FromHere<'a> {
    pub(crate) progress: &'a Progress,
}

/// Ends a scan that nobody waits for any more.
struct EndsWithMe(Arc<AtomicBool>);

impl Drop for EndsWithMe {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Lookout for FromHere<'_> {
    fn source(&self, target: IpAddr) -> Option<IpAddr> {
        local_address(target).ok()
    }

    async fn scan(&self, node: &NodeName, order: Scan, targets: usize) -> Result<Scanned, Missed> {
        let ends = EndsWithMe(Arc::new(AtomicBool::new(false)));
        let cancelled = Arc::clone(&ends.0);
        let (tell, mut told) = mpsc::unbounded_channel::<u8>();
        let target = order.target;
        let scanning = tokio::task::spawn_blocking(move || {
            let effort = Effort { window: window(targets), cancelled: &cancelled };
            scan(&order, effort, &mut |percent| {
                // Whoever stopped listening has stopped the scan as well.
                let _ = tell.send(percent);
            })
        });
        while let Some(percent) = told.recv().await {
            self.progress.tell(node, &format!("scanning {target} from here: {percent} %"));
        }
        match scanning.await {
            Ok(Ok(scanned)) => Ok(scanned),
            Ok(Err(ScanError::NoRoute { .. })) => Err(Missed::NoRoute),
            Ok(Err(error)) => Err(Missed::Failed(causes(&error))),
            Err(_) => Err(Missed::Failed("the scan ended early".to_owned())),
        }
    }
}
