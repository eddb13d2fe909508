// Which image is meant by a name and a version changes when its publisher pushes it again; a digest names one for ever.

/** A service as `docker compose config` shows it. */
export interface ComposedService {
  readonly image?: string;
  readonly build?: unknown;
}

/** The image that the images of the services are built on, as the Dockerfile names it. */
export function nodeImageOf(dockerfile: string): string {
  const [, image] = /^ARG NODE_IMAGE=(\S+)$/m.exec(dockerfile) ?? [];
  if (image === undefined) throw new Error('the Dockerfile has no line ARG NODE_IMAGE=...');
  return image;
}

/** Every image that a registry is asked for: those of the services that are not built here, and what the others are built on. */
export const imagesOf = (services: Readonly<Record<string, ComposedService>>, nodeImage: string): readonly string[] => [
  ...new Set(
    Object.values(services).map(({ image, build }) => (build === undefined ? (image ?? nodeImage) : nodeImage)),
  ),
];

/**
 * A Compose file, to be laid over the one that these services are of, which pins each image by its digest.
 *
 * @throws when an image has none.
 */
export function digestFile(
  services: Readonly<Record<string, ComposedService>>,
  nodeImage: string,
  digests: ReadonlyMap<string, string>,
): string {
  const pinned = (image: string): string => {
    const digest = digests.get(image) ?? '';
    if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw new Error(`${image} has no digest: ${digest || 'no answer'}`);
    return `${image.replace(/@sha256:.*$/, '')}@${digest}`;
  };
  const blocks = Object.entries(services).map(([name, { image, build }]) =>
    build === undefined
      ? `  ${name}:\n    image: ${pinned(image ?? '')}\n`
      : `  ${name}:\n    build: { args: { NODE_IMAGE: '${pinned(nodeImage)}' } }\n`,
  );
  return `# Written by \`pnpm pin:images\`: each image by what its registry had then. Lay it over the file it was made from.
services:
${blocks.join('')}`;
}
