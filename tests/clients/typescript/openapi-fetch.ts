// openapi-typescript makes types only; openapi-fetch is the client that they fit.
import createClient from 'openapi-fetch';
import { check } from './check.js';
import type { components, operations, paths } from './generated/openapi-typescript.js';

type ApiError = components['schemas']['ApiError'];
type TokenPair = components['schemas']['TokenPair'];
type TokenInfo = operations['inspectToken']['responses'][200]['content']['application/json'];

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
const answer = <T>(got: { data?: T; error?: ApiError; response: Response }) =>
  ({ response: got.response, value: got.data, error: got.error });

await check(process.argv[2]!, (baseUrl) => {
  const client = createClient<paths>({ baseUrl });
  return {
    async create(body, id, secret) {
      const headers = id === undefined ? {} : { Authorization: `Basic ${btoa(`${id}:${secret}`)}` };
      return answer<TokenPair>(await client.POST('/token', { headers, body }));
    },
    async inspect(token, scope) {
      return answer<TokenInfo>(await client.GET('/token', { headers: bearer(token), params: { query: { scope } } }));
    },
    async refresh(token, scope) {
      return answer<TokenPair>(await client.PUT('/token', { headers: bearer(token), body: scope && { scope } }));
    },
  };
});
