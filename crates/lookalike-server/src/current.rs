//! What answers requests: a gallery, until its name means another one.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::Router;
use axum::extract::Request;
use lookalike::{Error, Searcher};
use tower::ServiceExt as _;

use crate::router;
use crate::service::Service;

/// Opens the gallery that the name means by now.
pub(crate) type Reopen = Box<dyn Fn() -> Result<Searcher, Error> + Send + Sync>;

/// What answers now.
pub(crate) struct Current {
    now: RwLock<Now>,
    reopen: Option<Reopen>,
    /// Why the other gallery could not be opened, so that it is said once.
    said: Mutex<String>,
}

struct Now {
    service: Arc<Service>,
    router: Router,
}

impl Now {
    fn new(service: Arc<Service>) -> Self {
        let router = router(&service);
        Self { service, router }
    }
}

impl Current {
    pub fn new(service: Arc<Service>, reopen: Option<Reopen>) -> Self {
        Self {
            now: RwLock::new(Now::new(service)),
            reopen,
            said: Mutex::default(),
        }
    }

    /// What answers now.
    pub fn service(&self) -> Arc<Service> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        now.service.clone()
    }

    /// Answers by what answers when a request comes.
    pub fn router(self: &Arc<Self>) -> Router {
        if self.reopen.is_none() {
            let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
            return now.router.clone();
        }
        let current = self.clone();
        Router::new().fallback_service(tower::service_fn(move |request: Request| {
            let now = current.now.read().unwrap_or_else(PoisonError::into_inner);
            let router = now.router.clone();
            async move {
                let answered: Result<_, Infallible> = router.oneshot(request).await;
                answered
            }
        }))
    }

    /// Goes over to another gallery, if the name means one by now; says whether it did. It blocks.
    pub fn follow(&self) -> bool {
        let Some(reopen) = &self.reopen else {
            return false;
        };
        let service = self.service();
        let opened = match service.gallery().has_moved() {
            Ok(false) => return false,
            Ok(true) => reopen(),
            Err(error) => Err(error.into()),
        };
        let followed = opened.and_then(|searcher| service.successor(searcher));
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match followed {
            Ok(service) => {
                said.clear();
                let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
                *now = Now::new(service);
                tracing::info!(
                    "the gallery's name means another collection: it is served from now on"
                );
                true
            }
            Err(error) => {
                let error = error.to_string();
                if *said != error {
                    tracing::warn!(%error, "the gallery's name means another collection; the one before is served on");
                    *said = error;
                }
                false
            }
        }
    }
}
