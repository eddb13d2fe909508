import { describe, expect, test } from 'vitest';
import { refusalOf } from './refusal.ts';

// Words of stock Exim, Postfix, qmail, sendmail, Exchange, cPanel, Gmail, Outlook.com, Yahoo, SendGrid and Amazon SES.
describe('a refusal', () => {
  test.each([
    ['550 5.1.1 <x@example.com>: Recipient address rejected: User unknown in local recipient table'],
    ['550 5.1.1 <x@example.com>: Recipient address rejected: User unknown in relay recipient table'],
    ['550-5.1.1 The email account that you tried to reach does not exist. 550 5.1.1 support.google.com'],
    ['550 5.1.1 <x@example.com>... User unknown'],
    ['550 sorry, no mailbox here by that name (#5.1.1)'],
    ['550 5.1.6 Mailbox has moved, no forwarding address'],
    ['550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup'],
    ['556 5.1.10 null MX'],
    ['550 5.1.1 <x@example.com>: Recipient address rejected: User unknown in virtual alias table'],
    [
      '550 5.1.1 <x@example.com>: Recipient address rejected: undeliverable address: host mx[192.0.2.1] said: 550 5.1.1 <x@example.com>... User unknown (in reply to RCPT TO command)',
    ],
    ['550 5.1.1 <sender@example.com>: Recipient address rejected: User unknown in local recipient table'],
  ])('%s: there is no such mailbox', (reply) => expect(refusalOf(reply)).toBe('mailbox'));

  test.each([
    ['550 no such user'],
    ['550 User unknown'],
    ['550 Unknown user'],
    ['550 unrouteable address'],
    ['550 <x@example.com>: invalid recipient'],
    ['550 Requested action not taken: mailbox unavailable'],
    ['554 delivery error: dd This user does not have a yahoo.com account, user not found'],
    ['550 <x@example.com>: User unknown in virtual mailbox recipient table'],
    ['550 <relay.policy@example.com>: User unknown'],
    ['550 Not local host, user unknown'],
  ])('%s: it says so in words alone', (reply) => expect(refusalOf(reply)).toBe('mailboxInWords'));

  test.each([
    ['552 5.2.2 mailbox full'],
    ['550 5.2.1 The email account that you tried to reach is inactive'],
    ['550 5.1.2 bad destination system'],
    ['550 5.4.4 no such domain'],
    ['556 domain does not accept mail'],
    ['553 Requested action not taken: mailbox name not allowed'],
    ['550 5.5.0 Requested action not taken: mailbox unavailable'],
  ])('%s: the address cannot get this mail', (reply) => expect(refusalOf(reply)).toBe('recipient'));

  test.each([
    ['552 5.3.4 message too big'],
    ['552 message size exceeds fixed maximum message size'],
    ['554 5.2.3 message too long for the mailbox'],
    ['552 too big'],
  ])('%s: the mail is too large', (reply) => expect(refusalOf(reply)).toBe('size'));

  test.each([
    ['550 relay not permitted'],
    ['550 relay not permitted, user unknown to this relay'],
    ['554 5.7.1 <x@example.com>: Relay access denied'],
    ['550 Unauthenticated senders not allowed'],
    ['550 Sender verify failed'],
    ['550-Please turn on SMTP Authentication in your mail client. 550 without authentication.'],
    ["553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"],
    ['530 5.7.0 Authentication required'],
    ['554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org'],
    ['550 5.4.5 Daily user sending limit exceeded.'],
    ['550 5.1.1 relaying denied'],
    ['535 5.7.8 authentication failed'],
    ['521 5.3.2 this host does not accept mail'],
    ['550 5.7.26 unauthenticated mail is blocked by the DMARC policy'],
    ['550 IP listed on the RBL'],
    // What is wrong with our own address, under the code and in the words of a mailbox that does not exist.
    ['550 5.1.1 <no-reply@sluice.example>: Sender address rejected: User unknown in local recipient table'],
    ['550 5.1.1 <no-reply@sluice.example>: sender does not exist'],
    ['550 <no-reply@sluice.example>: Sender address rejected: User unknown in virtual mailbox table'],
    [
      '550 5.1.7 <no-reply@sluice.example>: Sender address rejected: undeliverable address: host mx[192.0.2.1] said: 550 5.1.1 <no-reply@sluice.example>: User unknown',
    ],
    ['550 Return address does not exist'],
    ['550 Bad return path: mailbox does not exist'],
    ['550 From address is unknown'],
    ['550 5.1.1 <x@example.com>: user unknown (in reply to MAIL FROM command)'],
    // What we are and did.
    ['550 IP address 192.0.2.1 not found in our list of known hosts'],
    ['550 host address not found'],
    ['550 5.1.1 Too many invalid recipients: unknown users in this session'],
    ['550 5.1.1 Please log in; unknown user'],
    ['550 5.1.1 Access denied'],
  ])('%s: it is about the client', (reply) => expect(refusalOf(reply)).toBe('client'));

  test.each([
    ['550 #5.1.0 Address rejected.'],
    ['554 transaction failed'],
    ['550 no'],
    ['500 what'],
    ['551 not here'],
    // GMX says this to servers that it has on a list.
    [
      '550 Requested action not taken: mailbox unavailable For explanation visit https://postmaster.gmx.net/case?c=r0601',
    ],
    ['550 Your address is not in our whitelist, user invalid'],
    ['550 Reverse lookup of your address not found'],
    ['550 Mailbox unavailable - your message was rejected by our content filter'],
    ['550 Destination server is unavailable'],
    ['550 5.1.0 Reverse lookup of your address not found'],
  ])('%s: it does not say', (reply) => expect(refusalOf(reply)).toBe('unclear'));
});
