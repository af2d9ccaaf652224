/** What stands beside the text of an event, where upstream said more. */
interface Beside {
  logprobs?: unknown;
  extra?: Record<string, unknown>;
}

export interface Failure {
  /** What happened and what to do, for a person. */
  error: string;
  /** A stable word; programs branch on it. */
  type: string;
  status: number;
  /** True when the same request may succeed later without any change. */
  retryable: boolean;
  retry_after_s?: number;
  details?: {where: string; what: string}[];
  suggestions?: string[];
  upstream?: {code?: number | string; provider?: string; metadata?: Record<string, unknown>};
}

export interface Usage {
  generation_id: string | null;
  model: string | null;
  provider: string | null;
  /** USD; null when upstream gave no cost. */
  total_cost: number | null;
  duration_ms: number;
  time_to_first_token_ms: number | null;
  tokens_per_second: number | null;
  prompt_tokens?: number;
  completion_tokens?: number;
  [more: string]: unknown;
}

/** The data of each event, by its name. */
export interface EventData {
  start: {
    stream_id: string;
    generation_id: string | null;
    model: string | null;
    provider: string | null;
    extra?: Record<string, unknown>;
  };
  reasoning: {text: string} & Beside;
  content: {text: string} & Beside;
  refusal: {text: string} & Beside;
  tool_call_delta: {index: number; id: string | null; name: string | null; arguments: string} & Beside;
  /** `complete` is false when the arguments were cut: do not run it. */
  tool_call: {index: number; id: string; name: string; arguments: string; complete: boolean};
  annotation: Record<string, any>;
  image: Record<string, any>;
  audio: Record<string, any>;
  reasoning_details: {reasoning_details: unknown[]};
  usage: Usage;
  error: Failure;
  done: {
    completed: boolean;
    finish_reason: string | null;
    native_finish_reason: string | null;
    warning?: string;
    extra?: Record<string, unknown>;
  };
}

/** One event of an answer. `data` is never spread: an error has a `type` of its own, a tool call an `id`. */
export type ChatEvent = {
  [Name in keyof EventData]: {type: Name; data: EventData[Name]; id: string};
}[keyof EventData];

/** What `POST /chat` takes; anything else that OpenRouter knows may stand beside it. */
export interface ChatRequest {
  message?: string;
  messages?: unknown[];
  history?: unknown[];
  system?: string;
  model?: string;
  /** Seconds that the answer goes on with no reader. */
  grace_s?: number;
  [more: string]: unknown;
}
