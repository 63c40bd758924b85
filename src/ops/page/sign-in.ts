/** Keeps what a deep link points to over the sign-in: a browser carries the fragment of a form's address through the redirect. */
const form = document.querySelector('form')
if (form) form.action += location.hash
