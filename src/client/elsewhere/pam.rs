//! Asking the operating system (pam(3)). It may take as long as it likes, so this is for a thread
//! that may wait.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;

use nonstick::items::ItemsMut as _;
use nonstick::{
    AuthnFlags, ConversationAdapter, ErrorCode, PamShared as _, Transaction as _,
    TransactionBuilder,
};

/// Whether this is the user's password.
pub(super) struct Question {
    pub service: String,
    pub user: String,
    /// Without a zero byte, as the other texts.
    pub password: String,
    /// `None`: from this machine.
    pub from: Option<IpAddr>,
}

/// Has one thing to say: the password.
struct Answer(String);

impl ConversationAdapter for Answer {
    /// Whatever is asked for openly is nothing that the client has told us.
    fn prompt(&self, _: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        Err(ErrorCode::ConversationError)
    }

    fn masked_prompt(&self, _: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        Ok(OsString::from(&self.0))
    }

    fn error_msg(&self, _: impl AsRef<OsStr>) {}

    fn info_msg(&self, _: impl AsRef<OsStr>) {}
}

impl Question {
    /// # Errors
    /// Nobody could tell, for this reason.
    pub(super) fn ask(self) -> Result<bool, String> {
        match self.authenticate() {
            Ok(()) => Ok(true),
            Err(
                ErrorCode::AuthenticationError
                | ErrorCode::UserUnknown
                | ErrorCode::PermissionDenied
                | ErrorCode::MaxTries
                | ErrorCode::AccountExpired
                | ErrorCode::NewAuthTokRequired
                | ErrorCode::CredentialsExpired,
            ) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    fn authenticate(self) -> nonstick::Result<()> {
        let mut transaction = TransactionBuilder::new_with_service(&self.service)
            .username(&self.user)
            .build(Answer(self.password).into_conversation())?;
        if let Some(from) = self.from {
            let from = OsString::from(from.to_string());
            transaction.items_mut().set_remote_host(Some(&from))?;
        }
        transaction.authenticate(AuthnFlags::SILENT)?;
        // Whether the account may be used now.
        transaction.account_management(AuthnFlags::SILENT)
    }
}
