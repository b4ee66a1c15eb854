import { check } from './check.js';
import { createClient } from './generated/hey-api/client/index.js';
import { createToken, inspectToken, refreshToken } from './generated/hey-api/index.js';
import type { ApiError, TokenInfo, TokenPair } from './generated/hey-api/index.js';

const answer = <T>(got: { data?: T; error?: ApiError; response: Response }) =>
  ({ response: got.response, value: got.data, error: got.error });

await check(process.argv[2]!, (baseUrl) => {
  const client = createClient({ baseUrl });
  return {
    async create(body, id, secret) {
      return answer<TokenPair>(await createToken({ client, body, auth: id && `${id}:${secret}` }));
    },
    async inspect(token, scope) {
      return answer<TokenInfo>(await inspectToken({ client, auth: token, query: { scope } }));
    },
    async refresh(token, scope) {
      return answer<TokenPair>(await refreshToken({ client, auth: token, body: scope && { scope } }));
    },
  };
});
