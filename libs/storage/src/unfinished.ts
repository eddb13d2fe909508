import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  type MultipartUpload,
  type S3Client,
} from '@aws-sdk/client-s3';

/** Drops what uploads in parts left behind. */
export interface UnfinishedUploads {
  drop(prefix: string, begunBefore: Date): Promise<number>;
}

/**
 * The unfinished uploads of a bucket. SeaweedFS (4.44, 4.47) lists them without the time they were begun at; the age of
 * one then counts from when this process first saw it.
 */
export function unfinishedUploads(client: S3Client, bucket: string, now: () => number): UnfinishedUploads {
  const firstSeenMs = new Map<string, number>();

  /** False when it was gone already: several replicas look for the same leftovers. */
  const abort = (upload: { Key: string; UploadId: string }): Promise<boolean> =>
    client.send(new AbortMultipartUploadCommand({ Bucket: bucket, ...upload })).then(
      () => true,
      (error: unknown) => {
        if ((error as Error).name === 'NoSuchUpload') return false;
        throw error;
      },
    );

  async function* listed(prefix: string): AsyncGenerator<MultipartUpload & { Key: string; UploadId: string }> {
    let from: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } | undefined = {};
    while (from) {
      const page: ListMultipartUploadsCommandOutput = await client.send(
        new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix, ...from }),
      );
      for (const { Key, UploadId, ...upload } of page.Uploads ?? []) {
        // Not every store knows a prefix here.
        if (Key?.startsWith(prefix) === true && UploadId !== undefined) yield { ...upload, Key, UploadId };
      }
      from =
        page.IsTruncated === true
          ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker }
          : undefined;
    }
  }

  return {
    async drop(prefix, begunBefore) {
      let dropped = 0;
      const gone = new Set([...firstSeenMs.keys()].filter((known) => known.startsWith(prefix)));
      for await (const { Key, UploadId, Initiated } of listed(prefix)) {
        const known = `${Key} ${UploadId}`;
        gone.delete(known);
        const begunMs = Initiated?.getTime() ?? firstSeenMs.get(known) ?? now();
        if (begunMs < begunBefore.getTime()) {
          dropped += (await abort({ Key, UploadId })) ? 1 : 0;
          firstSeenMs.delete(known);
        } else if (Initiated === undefined) {
          firstSeenMs.set(known, begunMs);
        }
      }
      for (const known of gone) firstSeenMs.delete(known);
      return dropped;
    },
  };
}
