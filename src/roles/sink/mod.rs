//! stub
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct SinkError;
impl SinkError {
    pub const fn is_transient(&self) -> bool {
        false
    }
}
pub async fn run(context: super::RoleContext) -> Result<(), SinkError> {
    context.stop.cancelled().await;
    Ok(())
}
