//! What every gallery must do (`suite`), and what the embedded one promises beyond it.

mod asking;
mod content;
mod crash;
mod damage;
mod diffusing;
mod embedded;
mod recall;
mod samples;
mod suite;
mod thumbnails;
