import {
  create,
  createRegistry,
  toBinary,
  type DescFile,
  type DescMessage,
  type DescService,
  type MessageInitShape,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, type ConnectRouter } from '@connectrpc/connect';
import { ServerReflection, ServerReflectionResponseSchema, type ServerReflectionResponse } from '@sluice/contracts';

type Reply = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>;

/**
 * Server reflection: tools ask the server itself what it offers, so `grpcurl` and `ghz` need no `.proto` at hand. Says
 * nothing that is not in the repository. `details` are what errors carry, so that tools can show them.
 */
export function reflection(services: readonly DescService[], details: readonly DescMessage[]) {
  const offered = [...services, ServerReflection];
  const files = new Map<string, DescFile>();
  const collect = (file: DescFile): void => {
    if (files.has(file.proto.name)) return;
    files.set(file.proto.name, file);
    for (const dependency of file.dependencies) collect(dependency);
  };
  for (const { file } of [...offered, ...details]) collect(file);
  const registry = createRegistry(...files.values());

  /** A file and all it imports, so that one question is enough: each before what it imports. */
  const withImports = (file: DescFile): DescFile[] => {
    const done = new Set<DescFile>();
    const visit = (each: DescFile): void => {
      if (done.has(each)) return;
      for (const dependency of each.dependencies) visit(dependency);
      done.add(each);
    };
    visit(file);
    return [...done].reverse();
  };
  const fileReply = (file: DescFile | undefined, asked: string): Reply =>
    file === undefined
      ? absent(asked)
      : {
          case: 'fileDescriptorResponse',
          value: {
            fileDescriptorProto: withImports(file).map((each) => toBinary(FileDescriptorProtoSchema, each.proto)),
          },
        };

  const replyTo = (request: NonNullable<ServerReflectionResponse['originalRequest']>): Reply => {
    const { case: question, value } = request.messageRequest;
    switch (question) {
      case 'listServices':
        return {
          case: 'listServicesResponse',
          value: { service: offered.map(({ typeName }) => ({ name: typeName })) },
        };
      case 'fileByFilename':
        return fileReply(files.get(value), value);
      case 'fileContainingSymbol':
        return fileReply(fileOf(value), value);
      case 'allExtensionNumbersOfType':
        return registry.getMessage(value) === undefined
          ? absent(value)
          : { case: 'allExtensionNumbersResponse', value: { baseTypeName: value, extensionNumber: [] } };
      case 'fileContainingExtension':
        return absent(`extension ${value.extensionNumber} of ${value.containingType}`);
      default:
        return { case: 'errorResponse', value: { errorCode: Code.InvalidArgument, errorMessage: 'nothing was asked' } };
    }
  };

  /** The file of a type, of a service, or of a method, field or value of one. */
  const fileOf = (symbol: string): DescFile | undefined => {
    const found = registry.get(symbol);
    if (found !== undefined) return found.file;
    const dot = symbol.lastIndexOf('.');
    const owner = dot < 0 ? undefined : registry.get(symbol.slice(0, dot));
    const member = symbol.slice(dot + 1);
    if (owner?.kind === 'service') return owner.methods.some(({ name }) => name === member) ? owner.file : undefined;
    if (owner?.kind === 'message') return owner.fields.some(({ name }) => name === member) ? owner.file : undefined;
    return undefined;
  };

  return (router: ConnectRouter): void => {
    router.service(ServerReflection, {
      async *serverReflectionInfo(requests) {
        for await (const request of requests) {
          const messageResponse = replyTo(request);
          yield create(ServerReflectionResponseSchema, {
            validHost: request.host,
            originalRequest: request,
            messageResponse,
          });
        }
      },
    });
  };
}

const absent = (what: string): Reply => ({
  case: 'errorResponse',
  value: { errorCode: Code.NotFound, errorMessage: `nothing here is called ${what}` },
});
