//! What answers requests: a gallery, until its name means another one.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

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
    /// What went wrong last, so that it is said once.
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
        let followed = match lookalike::has_moved(service.gallery()) {
            Ok(false) => {
                self.said().clear();
                return false;
            }
            Ok(true) => reopen().and_then(|searcher| service.successor(searcher)),
            Err(error) => {
                self.warn_once(
                    "could not ask which collection the gallery's name stands for",
                    &error,
                );
                return false;
            }
        };
        match followed {
            Ok(service) => {
                self.said().clear();
                let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
                *now = Now::new(service);
                tracing::info!(
                    "the gallery's name means another collection: it is served from now on"
                );
                true
            }
            Err(error) => {
                self.warn_once(
                    "the gallery's name means another collection, which cannot be opened; the one before is served on",
                    &error,
                );
                false
            }
        }
    }

    fn said(&self) -> MutexGuard<'_, String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs what went wrong, unless it was the last thing that was logged.
    fn warn_once(&self, what: &str, error: &dyn std::error::Error) {
        let text = format!("{what}: {error}");
        let mut said = self.said();
        if *said != text {
            tracing::warn!("{text}");
            *said = text;
        }
    }
}
