//! What a gallery is made for, and how it is made or opened.

use std::fmt;

use lookalike_neighbours::Metric;

use crate::manifest::Manifest;
use crate::{ClusterOptions, CollectionLayout};

/// The codes that a gallery is made for: what follows from the model that gives them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CodeSpec<'a> {
    /// The metric that suits them.
    pub metric: Metric,
    /// Their length, from 1 to 65536.
    pub dims: usize,
    /// The model's file, which an embedded gallery keeps and a collection on a cluster knows by its
    /// [fingerprint](crate::model_fingerprint).
    pub model: &'a [u8],
}

impl fmt::Debug for CodeSpec<'_> {
    /// Without the model's bytes, which may be millions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeSpec")
            .field("metric", &self.metric)
            .field("dims", &self.dims)
            .field("model_bytes", &self.model.len())
            .finish()
    }
}

impl<'a> CodeSpec<'a> {
    /// Codes of length `dims` that the model whose file is `model` gives, compared by `metric`
    /// unless [`GalleryOptions::metric`] says another.
    pub fn new(metric: Metric, dims: usize, model: &'a [u8]) -> Self {
        Self {
            metric,
            dims,
            model,
        }
    }

    /// What a new gallery says of itself.
    pub(crate) fn manifest(&self, options: &GalleryOptions) -> Manifest {
        Manifest::new(options.metric.unwrap_or(self.metric), self.dims, self.model)
    }

    /// What a gallery that is there, made for the metric `found`, must say of itself to fit.
    pub(crate) fn manifest_beside(&self, found: Metric, options: &GalleryOptions) -> Manifest {
        Manifest::new(options.metric.unwrap_or(found), self.dims, self.model)
    }
}

/// How a gallery is made or opened. Whatever is not said is as is usual.
///
/// ```
/// use lookalike_gallery::{CollectionLayout, GalleryOptions};
/// use lookalike_neighbours::Metric;
///
/// let layout = CollectionLayout { shards: Some(6), ..CollectionLayout::default() };
/// let options = GalleryOptions::new().metric(Metric::Dot).layout(layout);
/// ```
#[derive(Clone, Debug, Default)]
pub struct GalleryOptions {
    pub(crate) metric: Option<Metric>,
    #[cfg_attr(
        not(feature = "cluster"),
        expect(dead_code, reason = "clusters alone use it")
    )]
    pub(crate) layout: CollectionLayout,
    #[cfg_attr(
        not(feature = "cluster"),
        expect(dead_code, reason = "clusters alone use it")
    )]
    pub(crate) cluster: Option<ClusterOptions>,
}

impl GalleryOptions {
    /// A new gallery has the metric that suits its codes and, on a cluster, the default layout; one
    /// that is there keeps its own. The cluster's key comes from the environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compares codes by this metric; none: whichever suits them. A gallery that is there must have
    /// been made for it.
    #[must_use]
    pub fn metric(mut self, metric: impl Into<Option<Metric>>) -> Self {
        self.metric = metric.into();
        self
    }

    /// Makes a new collection on a cluster so. A gallery in a folder has no use for it.
    #[must_use]
    pub fn layout(mut self, layout: CollectionLayout) -> Self {
        self.layout = layout;
        self
    }

    /// Speaks to the cluster so, and with this key, instead of as
    /// [`ClusterOptions::from_environment`] says. A gallery in a folder has no use for it.
    #[must_use]
    pub fn cluster(mut self, options: ClusterOptions) -> Self {
        self.cluster = Some(options);
        self
    }
}

#[cfg(feature = "cluster")]
impl GalleryOptions {
    /// How the cluster is spoken to.
    pub(crate) fn cluster_options(&self) -> Result<ClusterOptions, crate::GalleryError> {
        self.cluster
            .clone()
            .map_or_else(ClusterOptions::from_environment, Ok)
    }
}
