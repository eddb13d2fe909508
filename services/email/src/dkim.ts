/** What mails are signed with: the private half of the key whose public half stands in DNS. */
export interface DkimKey {
  /** The signing domain, `d=`. */
  readonly domainName: string;
  /** `<selector>._domainkey.<domain>` is where the public key is. */
  readonly keySelector: string;
  /** PEM. */
  readonly privateKey: string;
}
