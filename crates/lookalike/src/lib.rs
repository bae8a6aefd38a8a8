//! Content-based image retrieval that learns from your own images, without labels
