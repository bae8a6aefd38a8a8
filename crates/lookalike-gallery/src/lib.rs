//! An embedded, durable gallery of codes, and how to search it
