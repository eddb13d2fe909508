// Prints the OpenAPI document of the API, from which the types of `@sluice/client` are generated. Starts nothing.
import manifest from '../../package.json' with { type: 'json' };
import { describeApi } from '../http/description.ts';

process.stdout.write(JSON.stringify(await describeApi(manifest.version), undefined, 2));
