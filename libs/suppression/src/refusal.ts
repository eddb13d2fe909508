import { withoutAddresses } from './mask.ts';

/**
 * Whom a 5xx reply speaks against. Everything but the recipient is worth another provider's try, and only the recipient
 * is worth remembering: a relay that refuses its client says 550 to every address, and none of them is dead.
 *
 * - `mailbox`: the server says by an enhanced code that there is no such mailbox.
 * - `mailboxInWords`: it says so in words only. Some servers use the same words for other reasons.
 * - `recipient`: the address cannot get this mail, for a reason that may pass: full, disabled, malformed, no such domain.
 * - `size`: the mail is too large.
 * - `client`: the sending side: it may not relay, is not logged in, is listed, has sent too much, breaks a policy.
 * - `unclear`: it does not say.
 */
export type RefusalOf = 'mailbox' | 'mailboxInWords' | 'recipient' | 'size' | 'client' | 'unclear';

/** Enhanced codes (RFC 3463, RFC 7505) for an address that does not exist, and for one that moved. */
const NO_MAILBOX = new Set(['5.1.1', '5.1.6', '5.1.10']);
const RECIPIENT = /^5\.(?:1\.[234]|2\.[0124]|4\.4)$/;
/** Codes that some large receivers put in front of every refusal, a mailbox that does not exist included. */
const GENERIC = /^5\.(?:0\.0|1\.0|5\.0)$/;
const SIZE = /^5\.(?:3\.4|2\.3)$/;
// 5.3 the mail system, 5.4 network and routing, 5.5 the protocol, 5.7 policy and security.
const CLIENT = /^5\.[3457]\.\d{1,3}$/;

const SIZE_WORDS = /\b(?:too (?:big|large)|size (?:limit|exceeds?)|exceeds? .{0,30}\bsize|maximum .{0,20}\bsize)\b/i;
const CLIENT_WORDS =
  /\brelay|\bauthenticat|\bauthori[sz]|\bsender\b|\bsenders\b|\blog ?in\b|\bclient host|\bb(?:lack|lock) ?list|\bblocked\b|\b(?:dns)?rbl\b|\bspam|\breputation\b|\bpolicy\b|\bpolicies\b|\bnot (?:permitted|allowed)|\ballowed rcpthosts|\bsending limit|\brate\b|\btoo many\b|\bptr\b|\breverse dns|\bspf\b|\bdkim\b|\bdmarc\b|\bhelo\b|\behlo\b|\btls\b|\bencrypt|\b(?:access|service|connection) (?:denied|refused)/i;
/**
 * The sender's address, the client's name or what it did before: `550 5.1.1 Sender address rejected: User unknown` is
 * about ours, though its code and its other words speak of a mailbox.
 */
const SENDING_SIDE =
  /\bsenders?\b|\breturn[- ]?path|\b(?:return|from|sending|envelope|source|ip|host|server) address|\bmail from\b|\btoo many\b|\blog ?in\b|\bauthenticat/i;
/** Words of refusals that are about the client as often as about the mailbox: without a code they prove nothing. */
const DOUBT =
  /\byour\b|\bwhite ?list|\bfilter|\breverse\b|\blookup\b|\bdns\b|\bip\b|\b(?:host|server) (?:is |was )?(?:un|not)|\bdenied\b|\brefused\b|\bprohibit|\bbanned\b|\bjunk|\bunsolicited|\bvirus|\bmalware|\bcall(?:back|out)\b|\bhttps?:/i;
const MAILBOX = '(?:user|mailbox|recipient|account|address|addressee|local ?part|person|destination)';
const MAILBOX_WORDS = new RegExp(
  [
    `\\bno such ${MAILBOX}`,
    `\\bno (?:mailbox|${MAILBOX}) (?:here )?by that name`,
    `\\b(?:unknown|invalid|non-?existent|unrouteable|undeliverable) ${MAILBOX}`,
    `\\b${MAILBOX}s?\\b.{0,80}\\b(?:unknown|not found|not known|invalid|unavailable|undeliverable|does ?n.t exist|does not exist|not exist|no longer)`,
    `\\bnot a (?:known|valid) ${MAILBOX}`,
    `\\bnot our customer`,
  ].join('|'),
  'i',
);

/** Reads a 5xx reply to any command. */
export function refusalOf(text: string): RefusalOf {
  const reply = withoutAddresses(text)
    // Postfix names the table in which it looked for the user.
    .replace(/ in (?:relay|local|virtual \w+) (?:recipient )?table/i, '');
  const status = reply.slice(0, 3);
  // At the beginning, or as qmail writes it: `sorry, no mailbox here by that name (#5.1.1)`.
  const enhanced =
    /^5\d\d[ -]#?(5\.\d{1,3}\.\d{1,3})\b/.exec(reply)?.[1] ?? /#(5\.\d{1,3}\.\d{1,3})\b/.exec(reply)?.[1];
  if (enhanced !== undefined) {
    if (SIZE.test(enhanced)) return 'size';
    // Some relays write 5.1.1 in front of every refusal.
    if (NO_MAILBOX.has(enhanced)) {
      const ofClient = SENDING_SIDE.test(reply) || (CLIENT_WORDS.test(reply) && !MAILBOX_WORDS.test(reply));
      return ofClient ? 'client' : 'mailbox';
    }
    if (RECIPIENT.test(enhanced)) return 'recipient';
    if (GENERIC.test(enhanced) && saysNoMailbox(reply)) return 'recipient';
    if (CLIENT.test(enhanced)) return 'client';
  }
  if (/^5(?:2[13]|3[0458])/.test(status)) return 'client';
  // RFC 7504: the domain takes no mail; RFC 5321 4.2.2: the mailbox name is malformed.
  if (status === '556' || /\bmailbox name (?:is )?(?:not allowed|invalid)/i.test(reply)) return 'recipient';
  if (status === '552' && !/\bmailbox\b/i.test(reply)) return 'size';
  if (SIZE_WORDS.test(reply)) return 'size';
  if (CLIENT_WORDS.test(reply) || SENDING_SIDE.test(reply)) return 'client';
  return /^55[0134]/.test(status) && enhanced === undefined && saysNoMailbox(reply) ? 'mailboxInWords' : 'unclear';
}

const saysNoMailbox = (reply: string): boolean =>
  MAILBOX_WORDS.test(reply) && ![CLIENT_WORDS, SENDING_SIDE, DOUBT].some((words) => words.test(reply));
