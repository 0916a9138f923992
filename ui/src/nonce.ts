import { setNonce } from 'get-nonce';

/** The nonce of this response's content security policy; styles made at run time must carry it. */
export const nonce =
  document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? '';

// The scroll lock below dialogs makes its own style element and asks this package for the nonce.
setNonce(nonce);
