// Signing in with the token that the server printed: from the address, or asked for when it is
// needed.

import { onTokenNeeded, signIn } from './api.js';
import { button, el, toast } from './dom.js';

let asking = null;

/**
 * Takes the token from the address, if it is there, and asks for one from now on when a request
 * needs it.
 */
export async function startSession() {
  onTokenNeeded(askOnce);
  addEventListener('hashchange', async () => (await tokenFromAddress()) && location.reload());
  await tokenFromAddress();
}

async function tokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!token) return false;
  history.replaceState(history.state, '', location.pathname + location.search);
  try {
    await signIn(token);
    return true;
  } catch (error) {
    toast(error.message, { error: true });
    return false;
  }
}

/** Requests that fail together are answered by one dialog. */
function askOnce() {
  asking ??= ask().finally(() => (asking = null));
  return asking;
}

/** Asks for the token until it is right or given up. Whether it was right. */
export function ask() {
  return new Promise((resolve) => {
    const dialog = tokenDialog();
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'signed-in');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

function tokenDialog() {
  const field = el('input', { type: 'password', id: 'token-field', autocomplete: 'current-password', required: true });
  const trouble = el('p', { class: 'trouble', role: 'alert' });
  const submit = async (event) => {
    event.preventDefault();
    trouble.textContent = '';
    try {
      await signIn(field.value.trim());
      dialog.close('signed-in');
    } catch (error) {
      trouble.textContent = error.message;
      field.select();
    }
  };
  const dialog = el('dialog', { id: 'token', 'aria-labelledby': 'token-title' },
    el('form', { on: { submit } },
      el('h2', { id: 'token-title', text: 'The server asks for its token' }),
      el('p', { text: 'It was printed when the server started, as the last part of the link: …#token=TOKEN.' }),
      el('label', { for: 'token-field', text: 'Token' }), field, trouble,
      el('div', { class: 'row end' },
        button({ text: 'Cancel', click: () => dialog.close('') }),
        el('button', { class: 'button strong', text: 'Sign in' }))));
  return dialog;
}
