import { check } from './check.js';
import type { Answer } from './check.js';
import { Configuration, ResponseError, TokenApi, instanceOfApiError } from './generated/typescript-fetch/index.js';
import type { ApiError, ApiResponse, TokenInfo, TokenPair } from './generated/typescript-fetch/index.js';

// An error has the response; what is in it is read by hand.
async function answer<T>(call: Promise<ApiResponse<T>>): Promise<Answer<T>> {
  try {
    const { raw, value } = await call.then(async (got) => ({ raw: got.raw, value: await got.value() }));
    return { response: raw, value };
  } catch (reason) {
    if (!(reason instanceof ResponseError)) throw reason;
    const error: unknown = await reason.response.json().catch(() => undefined);
    const typed: ApiError | undefined = error instanceof Object && instanceOfApiError(error) ? error : undefined;
    return { response: reason.response, error: typed };
  }
}

await check(process.argv[2]!, (basePath) => {
  const api = (credentials: { username?: string; password?: string; accessToken?: string }) =>
    new TokenApi(new Configuration({ basePath, ...credentials }));
  return {
    create: (createToken, username, password) =>
      answer<TokenPair>(api({ username, password }).createTokenRaw({ createToken })),
    inspect: (accessToken, scope) => answer<TokenInfo>(api({ accessToken }).inspectTokenRaw({ scope })),
    refresh: (accessToken, scope) =>
      answer<TokenPair>(api({ accessToken }).refreshTokenRaw({ refreshToken: scope && { scope } })),
  };
});
