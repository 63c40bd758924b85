export interface WatchCost {}
export async function measureWatchCost(_note: (text: string) => void): Promise<WatchCost> { return {} }
export function writeWatchCost(_cost: WatchCost): string { return '' }
